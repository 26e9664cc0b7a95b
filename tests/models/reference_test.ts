import { createReferenceBackend } from "../../kernels/reference/backend.ts";
import { testReferenceModels } from "./reference_models.ts";

testReferenceModels("reference", () => createReferenceBackend());
