// The conformance suite on an NVIDIA GPU: as the backend is, and with every product and all attention on the matrix units,
// which take and leave bfloat16 (attention: float16).

import { createCudaBackend } from "../../../kernels/cuda/backend.ts";
import { cudaTest } from "../../cuda.ts";
import { testBackend } from "../conformance.ts";

/** What rounding a number to bfloat16 changes at most, relative to it. */
const unit = 2 ** -8;

/**
 * On the matrix units the input of a product is rounded once, so are weights that take more than eight bits, and the
 * result. A gate multiplies two products: five roundings, which count in full where a few columns decide a row. Over
 * more columns they even out. Rounding at these places and nowhere else, on the data of this suite, gives errors of up to
 * 0.0131 with 8 columns, and of 0.0086 with 96 to 264.
 */
const rounded = (columns: number): number => columns < 32 ? 5 * unit : 2.5 * unit;

testBackend("cuda", () => createCudaBackend(), cudaTest);
testBackend(
  "cuda, matrix units",
  () => createCudaBackend({ halfFrom: 0, tensorDecode: "always" }),
  cudaTest,
  (_, columns) => rounded(columns),
);
