// Asks an .onnx file in a package of onnxruntime for JavaScript.
//
//     node onnx_answers.mjs NODE_MODULES PACKAGE FILE < inputs > outputs
//
// Both are JSON: for each name [type, shape, values].

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, name, file] = process.argv.slice(2);
const runtime = createRequire(`${folder}/`)(name);
const session = await runtime.InferenceSession.create(readFileSync(file));
const given = JSON.parse(readFileSync(0, "utf8"));
const tensors = Object.entries(given).map(([key, [type, shape, values]]) => [
  key,
  new runtime.Tensor(type, values, shape),
]);
const taken = await session.run(Object.fromEntries(tensors));
const answers = Object.entries(taken).map(([key, { type, dims, data }]) => [
  key,
  [type, dims, Array.from(data)],
]);
console.log(JSON.stringify(Object.fromEntries(answers)));
