import { defineConfig } from "vitest/config"

/** What starts a process or a thread; the others share a worker of Vitest, as they leave nothing behind in it. */
const real = "test/**/*.{live,process}.test.ts"

export default defineConfig({
  test: {
    globalSetup: "test/support/bundled.ts",
    setupFiles: ["test/support/alone.ts"],
    // Real processes take their time on a busy machine; nothing here is about speed.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Of the processes that a file starts; there are other files beside it.
    maxConcurrency: 3,
    // One more than the two cores of a small machine: a file about processes waits for them half of its time.
    maxWorkers: 3,
    projects: [
      { extends: true, test: { name: "real", include: [real] } },
      { extends: true, test: { name: "unit", include: ["test/**/*.test.ts"], exclude: [real], isolate: false } },
    ],
  },
})
