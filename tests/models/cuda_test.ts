import { createCudaBackend } from "../../kernels/cuda/backend.ts";
import { cudaTest } from "../cuda.ts";
import { testInt8Models } from "./int8.ts";
import { testReferenceModels } from "./reference_models.ts";

testReferenceModels("cuda", () => createCudaBackend(), cudaTest);
testInt8Models("cuda", () => createCudaBackend(), cudaTest);
