/** What the documents say against what is there: links, settings and their defaults, sizes. */
import { describe, expect, it } from "vitest"
import { Redacted, Schema } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { schema as guardSchema } from "../../src/cli/GuardConfig.ts"
import { PaperConfig } from "../../src/paper/PaperConfig.ts"
import { withPart } from "../bench/publish.ts"

const root = path.join(import.meta.dirname, "../..")
const read = (name: string) => fs.readFileSync(path.join(root, name), "utf8")

const documents = [
  "README.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  ...fs.readdirSync(path.join(root, "docs")).map((name) => `docs/${name}`),
]

/** As GitHub makes them of headings. */
const anchorsOf = (text: string) =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(
    ([, heading = ""]) =>
      `#${heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-")}`,
  )

describe("the links of the documents", () => {
  it.each(documents)("of %s lead somewhere", (name) => {
    const links = [...read(name).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link)
    const broken = links.filter((link) => {
      if (/^https?:/.test(link)) return false
      const [, file = "", anchor = ""] = /^([^#]*)(#.*)?$/.exec(link) ?? []
      const target = file === "" ? name : path.join(path.dirname(name), file)
      if (!fs.existsSync(path.join(root, target))) return true
      return anchor !== "" && !anchorsOf(read(target)).includes(anchor)
    })
    expect(broken).toEqual([])
  })

  it("lead to every document from the README", () => {
    const named = read("README.md")
    expect(documents.filter((name) => name !== "README.md" && !named.includes(`(${name})`))).toEqual([])
  })
})

describe("docs/configuration.md", () => {
  const flat = (prefix: string, value: unknown): ReadonlyArray<readonly [string, string]> => {
    if (Redacted.isRedacted(value)) return [[prefix, "none"]]
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return [[prefix, `\`${typeof value === "string" ? value : JSON.stringify(value)}\``]]
    }
    return Object.entries(value).flatMap(([key, it]) => flat(prefix === "" ? key : `${prefix}.${key}`, it))
  }

  it("names every key with its default, and no other", () => {
    const defaults = [
      ...flat("", Schema.decodeSync(PaperConfig.schema)({})),
      ...flat("", Schema.decodeSync(guardSchema)({})),
    ]
    const rows = [...read("docs/configuration.md").matchAll(/^\| `([^`]+)` \| ([^|]+) \|/gm)]
    expect(rows.map(([, key, value]) => [key, value]).toSorted()).toEqual(defaults.toSorted())
    expect(defaults.length).toBeGreaterThan(30)
  })
})

describe("a table that a command writes", () => {
  it("takes the place of the one before, and is added where there was none", () => {
    const first = withPart("# Title\n\ntext\n", "kill", "| 1 |")
    expect(first).toBe("# Title\n\ntext\n\n<!-- kill -->\n\n| 1 |\n\n<!-- end of kill -->\n")
    expect(withPart(`${first}after\n`, "kill", "| 2 |")).toBe(`${first.replace("| 1 |", "| 2 |")}after\n`)
  })

  it("has its place in docs/proof.md", () => {
    expect(read("docs/proof.md")).toContain("<!-- the table -->")
  })
})

describe("CONTRIBUTING.md", () => {
  it("says of every folder of src what belongs there, and what does not", () => {
    const folders = fs.readdirSync(path.join(root, "src"), { withFileTypes: true }).filter((it) => it.isDirectory())
    const rows = [...read("CONTRIBUTING.md").matchAll(/^\| `src\/(\w+)` \| [^|]{10,} \| [^|]{5,} \|$/gm)]
    expect(rows.map(([, name]) => name).toSorted()).toEqual(folders.map(({ name }) => name).toSorted())
  })
})

describe("the README", () => {
  it("is short", () => {
    expect(read("README.md").split("\n").length).toBeLessThanOrEqual(200)
  })
})
