/** Loaded into every Node process of a test (`--import`): lets the integrity check start, and never end by itself. */
if (process.argv[1]?.includes("integrityProcess") === true) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}
