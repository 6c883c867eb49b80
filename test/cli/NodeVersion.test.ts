import { describe, expect, it } from "vitest"
import { accepts, refusal } from "../../src/cli/NodeVersion.ts"
import packageJson from "../../package.json" with { type: "json" }

const range = packageJson.engines.node

describe("the Node of the command", () => {
  it.each(["22.22.3", "22.30.0", "24.15.0", "24.21.0", "25.9.0", "26.0.0", "26.10.0", "100.0.0"])(
    "may be %s",
    (node) => {
      expect(refusal(range, node, [])).toBeUndefined()
    },
  )

  it.each(["12.22.12", "18.20.8", "20.20.2", "22.5.0", "22.22.2", "23.11.1", "24.0.0", "24.14.9", "25.8.2"])(
    "is refused when it is %s, in one line with a command that works",
    (node) => {
      expect(refusal(range, node, ["status", "my app.db"])).toBe(
        `seawall needs Node 22.22.3 or later below 23, 24.15.0 or later below 25, 25.9.0 or later; this is Node ${node}. ` +
          "This brings its own: npx -p node@24 -p seawall seawall status 'my app.db'",
      )
    },
  )

  it("compares numbers, not texts, and a version may have a suffix", () => {
    expect(accepts(">=9.0.0", "10.0.0")).toBe(true)
    expect(accepts(">=22.22.3 <23", "22.100.0")).toBe(true)
    expect(accepts(">=24.15.0 <25", "24.15.0-nightly")).toBe(true)
  })
})
