import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/support/alone.ts"],
    // Real processes take their time on a busy machine; nothing here is about speed.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Of the processes that a file starts; there are other files beside it.
    maxConcurrency: 3,
    maxWorkers: 2,
  },
})
