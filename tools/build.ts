/** Compiles the one executable, dist/tug. */
const result = await Bun.build({
  entrypoints: [
    "src/main.ts",
    "src/snapshot/unpack/unpack-worker.ts",
    "src/snapshot/diff/hash-worker.ts",
  ],
  root: "src",
  minify: true,
  splitting: true,
  bytecode: true,
  format: "esm",
  target: "bun",
  compile: {
    outfile: "dist/tug",
    autoloadDotenv: false,
    autoloadBunfig: false,
    // Times what makes code worth compiling: src/sys/process/jit.ts puts it back.
    jitPolicy: 10,
  },
});
for (const message of result.logs) console.error(message);
if (!result.success) process.exit(1);
console.log("built dist/tug");
