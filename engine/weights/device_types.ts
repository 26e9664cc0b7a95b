// Which format a matrix has on the device.
//
// `--dtype` names one for all, but that the router of a mixture of experts stays as the checkpoint has it (it is
// small, and a small change can send a token to other experts), and that with four bits the embedding and the head
// take eight: each of their rows is a token. "auto" keeps what is stored. Tensors that make up one matrix on the
// device (q|k|v, gate|up, experts) may be stored in different types; those matrices become q8, whose rounding is far
// below that of the types that differ (Q4_K_M files have a few: v in six bits beside q and k in four). So does what
// the backend has no kernels for, or does not divide into the format's blocks.
//
// Where a backend rounds inputs to eight bits too, narrow models are expanded to float16: SmolLM2-135M in Q4_1 then
// answers as its weights say, and not "L'Étoile" for the capital of France, as with rounded inputs (llama.cpp does,
// too). They are small and quick all the same.

import { type DType, dtypes, formats } from "../../kernels/formats/mod.ts";
import type { Backend } from "../../kernels/ops.ts";
import type { Model } from "../model/model.ts";
import { storedTypes } from "./convert.ts";
import type { ChooseType, MatrixPiece, MatrixRole } from "./plan.ts";

/** What `--dtype` may say; "auto" keeps the checkpoint's types, others are made while loading. */
export type DTypeOption = "auto" | NonNullable<(typeof formats)[DType]["option"]>;

/** All that `--dtype` may say. */
export const dtypeOptions: readonly [DTypeOption, ...DTypeOption[]] = [
  "auto",
  ...dtypes.map((dtype) => formats[dtype].option).filter((option) => option !== null),
];

/** Models of at least this width keep quantized weights where inputs are rounded. */
const robustWidth = 1024;

/** The formats of a model's matrices on a backend. */
export function chooseTypes(
  { config, tensors }: Pick<Model, "config" | "tensors">,
  option: DTypeOption,
  backend: Pick<Backend, "dtypes" | "roundsInputs">,
): ChooseType {
  const native = (tensor: string) =>
    storedTypes.get(tensors?.get(tensor)?.dtype ?? "")?.native ?? config.dtype;
  const embedding = native("model.embed_tokens.weight");
  const asStored = (pieces: readonly MatrixPiece[]): DType => {
    const types = new Set(pieces.map(({ tensor }) => native(tensor)));
    const [first] = types;
    if ([...types].some((type) => formats[type].quantized)) {
      if (backend.roundsInputs && config.hiddenSize < robustWidth) return "f16";
      return types.size === 1 ? first! : "q8";
    }
    // A checkpoint of floats has one type: a few tensors in another are not worth other kernels.
    if (!formats[embedding].quantized) return embedding;
    return types.size === 1 ? first! : "f32";
  };
  const asked = option === "auto" ? null : dtypes.find((dtype) => formats[dtype].option === option)!;
  const wanted = (role: MatrixRole, pieces: readonly MatrixPiece[]): DType => {
    if (asked === null) return asStored(pieces);
    const { quantized, rowBytes } = formats[asked];
    if (role === "router" && quantized) return config.dtype;
    return role === "vocabulary" && quantized && rowBytes(256) < 256 ? "q8" : asked;
  };
  return (role, pieces, columns) => {
    const dtype = wanted(role, pieces);
    const fits = columns % formats[dtype].blockColumns === 0 && backend.dtypes.includes(dtype);
    return fits ? dtype : "q8";
  };
}
