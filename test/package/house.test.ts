/** The house: floors import downwards only, and no file imports itself through others. Types count, too. */
import { expect, it } from "vitest"
import { parseAst } from "vitest/node"
import * as fs from "node:fs"
import * as path from "node:path"

const src = path.join(import.meta.dirname, "../../src")

/** From the ground up: a floor knows those before it. Two of one line do not know each other. */
const floors = [
  ["files", "options"],
  ["processes", "shutdown", "sql"],
  ["sqlite"],
  ["lease", "wal"],
  ["postgres"],
  ["state"],
  ["engine", "facts"],
  ["paper", "status", "doctor", "dashboard", "testing", "cluster"],
  ["cli"],
]
const floorOf = (room: string) => floors.findIndex((rooms) => rooms.includes(room))

const files = fs
  .readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))

const imports = new Map(
  files.map((name) => [
    name,
    [...fs.readFileSync(path.join(src, name), "utf8").matchAll(/ from "(\.[^"]+\.ts)"/g)].map(([, to = ""]) =>
      path.join(path.dirname(name), to),
    ),
  ]),
)

const roomOf = (name: string) => (name.includes("/") ? (name.split("/")[0] ?? "") : undefined)

it("has rooms that are known, each on its floor", () => {
  const rooms = new Set(files.flatMap((name) => roomOf(name) ?? []))
  expect([...rooms].toSorted()).toEqual(floors.flat().toSorted())
})

it("imports downwards only", () => {
  const upwards = [...imports].flatMap(([name, all]) =>
    all.flatMap((to) => {
      const [from, into] = [roomOf(name), roomOf(to)]
      if (from === undefined || into === undefined || from === into) return []
      return floorOf(into) < floorOf(from) ? [] : [`${name} imports ${to}`]
    }),
  )
  expect(imports.size).toBeGreaterThan(150)
  expect(upwards).toEqual([])
})

it("has no circle", () => {
  const done = new Set<string>()
  const circles: Array<string> = []
  const visit = (name: string, above: ReadonlyArray<string>) => {
    if (above.includes(name)) return void circles.push([...above.slice(above.indexOf(name)), name].join(" -> "))
    if (done.has(name)) return
    for (const to of imports.get(name) ?? []) visit(to, [...above, name])
    done.add(name)
  }
  for (const name of files) visit(name, [])
  expect(circles).toEqual([])
})

const lineCount = (text: string) => text.trimEnd().split("\n").length

it("has no file of more than 250 lines", () => {
  const sources = fs
    .readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(?:ts|js|css|html)$/.test(name))
  const long = sources.map((name) => [name, lineCount(fs.readFileSync(path.join(src, name), "utf8"))] as const)
  expect(long.filter(([, lines]) => lines > 250)).toEqual([])
  expect(long.length).toBeGreaterThan(200)
})

it("has no closure of more than 80 lines", () => {
  const longest = files.map((name) => {
    const text = fs.readFileSync(path.join(src, name), "utf8")
    let most = 0
    const walk = (node: unknown): void => {
      if (typeof node !== "object" || node === null) return
      if (Array.isArray(node)) return node.forEach(walk)
      const { end, start, type } = node as { readonly type?: string; readonly start: number; readonly end: number }
      if (/^(?:ArrowFunctionExpression|Function(?:Expression|Declaration))$/.test(type ?? "")) {
        most = Math.max(most, lineCount(text.slice(start, end)))
      }
      Object.values(node).forEach(walk)
    }
    walk(parseAst(text, { lang: "ts" }))
    return [name, most] as const
  })
  expect(longest.filter(([, lines]) => lines > 80)).toEqual([])
  expect(longest.filter(([, lines]) => lines > 40).length).toBeGreaterThan(5)
})
