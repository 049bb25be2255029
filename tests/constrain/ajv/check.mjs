// SPDX-License-Identifier: MIT
// Reads lines of {"schema":..., "instance":...}, and fails where an instance is not valid by its schema.
import { readFileSync } from "node:fs";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const validators = new Map();
function validatorOf(schema) {
    const text = JSON.stringify(schema);
    if (!validators.has(text)) {
        const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: true });
        addFormats(ajv);
        validators.set(text, ajv.compile(schema));
    }
    return validators.get(text);
}

const lines = readFileSync(process.argv[2], "utf8").split("\n").filter((line) => line !== "");
const least = Number(process.argv[3] ?? 1);
let invalid = 0;
lines.forEach((line, i) => {
    let complaint = "";
    try {
        const { schema, instance } = JSON.parse(line);
        const validate = validatorOf(schema);
        complaint = validate(instance) ? "" : JSON.stringify(validate.errors);
    } catch (error) {
        complaint = String(error);
    }
    if (complaint !== "") {
        ++invalid;
        console.log(`line ${i + 1}: ${complaint}\n    ${line}`);
    }
});
console.log(`${lines.length} calls by ${validators.size} schemas: ${invalid} invalid`);
process.exitCode = invalid === 0 && lines.length >= least ? 0 : 1;
