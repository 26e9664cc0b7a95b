import { createCpuBackend } from "../../kernels/cpu/backend.ts";
import { testReferenceModels } from "./reference_models.ts";

testReferenceModels("cpu", () => createCpuBackend({ threads: 2 }));
