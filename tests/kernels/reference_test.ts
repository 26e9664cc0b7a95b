// The reference against itself: shows that the suite runs, and that its own pieces fit together.

import { createReferenceBackend } from "../../kernels/reference/backend.ts";
import { testBackend } from "./conformance.ts";

testBackend("reference", () => createReferenceBackend());
