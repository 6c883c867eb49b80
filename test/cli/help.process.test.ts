/** Help and completions, which come from the command line library: that they know every command, and say what is true. */
import { describe, expect, it } from "vitest"
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import { main, run } from "../support/Seawall.ts"

const seawall = (...args: ReadonlyArray<string>) => run(args, { cwd: os.tmpdir() })

const subcommands = async () => {
  const { stdout } = await seawall("--help")
  const [, list = ""] = stdout.split("SUBCOMMANDS\n")
  return [...list.matchAll(/^ {2}([a-z-]+) +\S/gm)].map(([, name = ""]) => name)
}

describe("help", () => {
  it("of each command shows an example, its flags and its exit codes", { timeout: 60_000 }, async () => {
    const names = await subcommands()
    expect(names).toContain("guard")
    for (const name of names) {
      const { code, stderr, stdout } = await seawall(name, "--help")
      expect([code, stderr]).toEqual([0, ""])
      for (const part of ["Exit codes:\n  0 ", "EXAMPLES\n", `seawall ${name}`, "FLAGS\n"])
        expect(stdout).toContain(part)
    }
  })

  const document = fs.readFileSync(new URL("../../docs/command.md", import.meta.url), "utf8")

  it("knows the commands of docs/command.md, and no other", async () => {
    const named = new Set([...document.matchAll(/\bseawall ([a-z][a-z-]+)/g)].map(([, name = ""]) => name))
    expect([...named].toSorted()).toEqual((await subcommands()).toSorted())
  })

  it("knows every flag of docs/command.md", { timeout: 60_000 }, async () => {
    const helps = await Promise.all((await subcommands()).map((name) => seawall(name, "--help")))
    const deposit = await seawall("capital", "deposit", "--help")
    const flags = new Set([...helps, deposit].flatMap(({ stdout }) => stdout.split(/[\s,]+/)))
    const commands = document.split("\n").filter((line) => !line.includes("npm run"))
    const named = new Set([...commands.join("\n").matchAll(/(?<=[ `(])--[a-z][a-z-]+/g)].map(([flag]) => flag))
    expect([...named].filter((flag) => !flags.has(flag))).toEqual([])
    expect(named.size).toBeGreaterThan(10)
  })
})

describe("completions", () => {
  const script = (shell: string) =>
    execFileSync(process.execPath, [main, "--completions", shell], { encoding: "utf8", cwd: os.tmpdir() })

  /** What bash offers for the last of these words. */
  const offered = (...words: ReadonlyArray<string>) =>
    execFileSync("bash", [], {
      encoding: "utf8",
      input: `${script("bash")}
COMP_WORDS=(${words.join(" ")}); COMP_CWORD=${words.length - 1}; COMP_LINE="${words.join(" ")}"
_seawall ${words[0]} ${words.at(-1)} ${words.at(-2)}
echo "\${COMPREPLY[@]}"`,
    }).trim()

  it("offer the commands and their flags in bash", () => {
    expect(offered("seawall", "gu")).toBe("guard")
    expect(offered("seawall", "guard", "--max")).toBe("--max-frames")
    expect(offered("seawall", "checkpoint", "--mode", "t")).toBe("truncate")
  })

  it.runIf(spawnSync("zsh", ["--version"]).status === 0)("are a script that zsh accepts", () => {
    expect(spawnSync("zsh", ["-n"], { input: script("zsh") }).status).toBe(0)
  })
})
