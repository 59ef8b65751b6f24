// Checks objects of other owners' kinds, an array in JSON on standard input: each by its schema, and
// all by their types. Prints what is wrong.
import fs from 'node:fs';
import ts from 'typescript';

const GROUPS = {
  'monitoring.coreos.com/v1': '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1',
  'gateway.networking.k8s.io/v1': '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1',
};

let problems = 0;
const problem = (text) => {
  problems += 1;
  console.log(text);
};

const objects = JSON.parse(fs.readFileSync(0, 'utf8'));
let source = '';
for (const [at, object] of objects.entries()) {
  const group = GROUPS[object.apiVersion];
  const { [object.kind]: Model } = await import(group);
  try {
    new Model(object).validate();
  } catch (error) {
    problem(`${object.kind}: ${error.message}`);
  }
  source += `import type { I${object.kind} as T${at} } from '${group}';\n`;
  source += `export const v${at}: T${at} = ${JSON.stringify(object)};\n`;
}

// In this folder, for its modules.
const file = new URL('generated.ts', import.meta.url).pathname;
const options = {
  strict: true, noEmit: true, skipLibCheck: true, types: [],
  module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
};
const host = ts.createCompilerHost(options);
const { getSourceFile, fileExists, readFile } = host;
host.getSourceFile = (name, ...rest) =>
  name === file ? ts.createSourceFile(name, source, ts.ScriptTarget.ES2022) : getSourceFile(name, ...rest);
host.fileExists = (name) => name === file || fileExists(name);
host.readFile = (name) => (name === file ? source : readFile(name));
for (const diagnostic of ts.getPreEmitDiagnostics(ts.createProgram([file], options, host))) {
  problem(ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'));
}
process.exit(problems ? 1 : 0);
