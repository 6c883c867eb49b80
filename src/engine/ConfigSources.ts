/**
 * Where the settings of a program come from: overrides over environment over YAML file over the defaults of its sections.
 *
 * Every problem is reported at once, each with its path and the bad value; an unknown key and an unknown variable are
 * problems. It knows no section of its own (`EngineConfig` has them), and touches no file: the YAML is given as its text.
 */
import { Effect, Option, Predicate, Result, Runtime, Schema, SchemaIssue } from "effect"
import { Yaml } from "effect/encoding"

/** The keys of one section: a `Schema.Struct` that needs no service. */
export type Section = Schema.ConstraintCodec<object, object> & { readonly fields: Schema.Struct.Fields }

/** Sections by their name. */
export type Sections = Readonly<Record<string, Section>>

/** One thing that is wrong: where (`section.key`, a variable, or `YAML`), and what was expected and found there. */
export interface ConfigProblem {
  readonly path: string
  readonly message: string
}

/** More of them would not help to correct the file. */
const mostProblems = 50

/** A configuration that was refused, with everything that is wrong with it. Exit code 78 (EX_CONFIG). */
export class EngineConfigError extends Schema.TaggedError<EngineConfigError>()("EngineConfigError", {
  source: Schema.String,
  problems: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String })),
}) {
  override readonly [Runtime.errorExitCode] = 78
  override get message() {
    const lines = this.problems.slice(0, mostProblems).map(({ path, message }) => `  ${path}: ${message}`)
    const more = this.problems.length - lines.length
    if (more > 0) lines.push(`  and ${more} more`)
    return [`the configuration in ${this.source} was refused:`, ...lines].join("\n")
  }
}

type Tree = Record<string, Record<string, unknown>>

/** What a configuration is made of: overrides over environment over file over defaults. */
export interface ConfigSources {
  /** What a message calls the origin, usually the path of the file. */
  readonly source: string
  /** The text of the YAML file; empty text means all defaults. */
  readonly yaml: string
  /** Usually the variables of the process. What does not begin with `SEAWALL_`, or is empty, is ignored. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Overrides of the highest rank, as sections of keys: the flags of a command. */
  readonly overrides?: Tree
}

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** The keys of the server that may be shown; any other may hold a password, also where a key is misspelt. */
const isSecret = (path: string) =>
  /^(?:postgres(?:\.|$)|SEAWALL_POSTGRES_)/i.test(path) && !/[._](?:schema|max_connections|lease_seconds)$/i.test(path)

/** How much of a value is shown, in characters: what is wrong with it is at its beginning, or is its size. */
const mostShown = 200

/** As JSON, but for infinities, and as far as there is room: an alias of YAML may unfold to more than there is memory. */
const json = (value: unknown, room: number): string => {
  if (typeof value === "string") return JSON.stringify(value.slice(0, room))
  if (!Predicate.isObject(value) && !Array.isArray(value)) return String(value)
  const isList = Array.isArray(value)
  let text = isList ? "[" : "{"
  for (const key in value) {
    if (text.length > room) break
    if (text.length > 1) text += ","
    text += isList ? "" : `${JSON.stringify(key.slice(0, room))}:`
    text += json((value as Readonly<Record<string, unknown>>)[key], room - text.length)
  }
  return text + (isList ? "]" : "}")
}

const cut = (text: string) => (text.length > mostShown ? `${text.slice(0, mostShown)}...` : text)

const show = (value: unknown) => (value === undefined ? "" : `, got ${cut(json(value, mostShown))}`)

const valueAt = (tree: unknown, path: ReadonlyArray<PropertyKey>): unknown =>
  path.reduce<unknown>((node, key) => (Predicate.hasProperty(node, key) ? node[key] : undefined), tree)

/** The file as sections of keys; a section with nothing in it is an empty one. */
const parseYaml = (text: string): Result.Result<Record<string, unknown>, ConfigProblem> =>
  text.length > mostText
    ? Result.fail({ path: "YAML", message: `expected at most ${mostText} characters, got ${text.length}` })
    : parsed(text)

/** In characters, of the file. Long configurations have some thousand. */
export const mostText = 200_000

const parsed = (text: string): Result.Result<Record<string, unknown>, ConfigProblem> =>
  Result.try({
    try: () => Yaml.parse(text) ?? {},
    catch: (error): ConfigProblem => ({
      path: "YAML",
      message:
        error instanceof RangeError ? "it is nested too deep" : error instanceof Error ? error.message : String(error),
    }),
  }).pipe(
    Result.flatMap((parsed) =>
      Predicate.isObject(parsed)
        ? Result.succeed(Object.fromEntries(Object.entries(parsed).map(([key, value]) => [key, value ?? {}])))
        : Result.fail({ path: "YAML", message: `expected sections of keys${show(parsed)}` }),
    ),
  )

const prefix = "SEAWALL_"

interface Setting {
  readonly section: string
  readonly key: string
  readonly schema: Schema.Constraint
}

/** The settings that a variable names: one, unless the names of two sections and their keys run into each other. */
const settingsByVariable = (sections: Sections): ReadonlyMap<string, ReadonlyArray<Setting>> => {
  const all = Object.entries(sections).flatMap(([section, { fields }]) =>
    Object.entries(fields).map(([key, schema]): Setting => ({ section, key, schema })),
  )
  return Map.groupBy(all, ({ key, section }) => `${prefix}${section}_${key}`.toUpperCase())
}

/** A variable is text; what stands in it is read as in the file, so that `2` is a number there too. */
const scalar = (text: string): unknown =>
  Result.getOrElse(
    Result.try(() => Yaml.parse(text)),
    () => text,
  )

const takesText = (schema: Schema.Constraint, text: string) =>
  Option.isSome(Schema.decodeOption(Schema.Struct({ leaf: schema as Schema.Codec<unknown, unknown> }))({ leaf: text }))

/** The variables that belong to us, as sections of keys. An empty one counts as not set. */
const readEnvironment = (sections: Sections, env: Readonly<Record<string, string | undefined>>) => {
  const settings = settingsByVariable(sections)
  const tree: Tree = {}
  const problems: Array<ConfigProblem> = []
  const names = new Map<string, string>()
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith(prefix) || value === undefined || value === "") continue
    const [setting, ...others] = settings.get(name.toUpperCase()) ?? []
    if (setting === undefined) {
      problems.push({ path: name, message: `unknown variable${isSecret(name) ? "" : show(value)}` })
      continue
    }
    if (others.length > 0) {
      const paths = [setting, ...others].map(({ key, section }) => `${section}.${key}`)
      problems.push({ path: name, message: `names ${paths.join(" and ")}; set them in the file` })
      continue
    }
    const { key, schema, section } = setting
    names.set(`${section}.${key}`, name)
    tree[section] = { ...tree[section], [key]: takesText(schema, value) ? value : scalar(value) }
  }
  return { tree, problems, names }
}

const merge = (base: Readonly<Record<string, unknown>>, over: Tree): Record<string, unknown> => {
  const merged = { ...base }
  for (const [section, keys] of Object.entries(over)) {
    const below = merged[section] ?? {}
    merged[section] = Predicate.isObject(below) ? { ...below, ...keys } : below
  }
  return merged
}

/** Reads, merges and decodes. `schema` is that of the whole, made of these sections. Fails with every problem at once. */
export const load = Effect.fnUntraced(function* <A>(
  schema: Schema.ConstraintCodec<A, unknown>,
  sections: Sections,
  sources: ConfigSources,
) {
  const refuse = (problems: ReadonlyArray<ConfigProblem>) => new EngineConfigError({ source: sources.source, problems })
  const file = yield* Effect.mapError(Effect.fromResult(parseYaml(sources.yaml)), (problem) => refuse([problem]))
  const environment = readEnvironment(sections, sources.env ?? {})
  const merged = merge(merge(file, environment.tree), sources.overrides ?? {})

  const decoded = yield* Effect.result(
    Schema.decodeEffect(schema)(merged, { errors: "all", onExcessProperty: "error" }),
  )
  const problems = Result.match(decoded, {
    onSuccess: () => [],
    onFailure: ({ issue }) =>
      formatIssues(issue).issues.map(({ path = [], message }): ConfigProblem => {
        const keys = path.map((part) => (Predicate.isObject(part) ? part.key : part)) as ReadonlyArray<PropertyKey>
        const value = valueAt(merged, keys)
        const expected = message === "Expected no excess property" ? "unknown key" : message
        const at = keys.map(String).join(".")
        const origin = valueAt(sources.overrides, keys) === undefined ? environment.names.get(at) : "given as a flag"
        return {
          path: origin === undefined ? cut(at) : `${at} (${origin})`,
          message: isSecret(at) ? `${expected} (not shown: it may hold a password)` : expected + show(value),
        }
      }),
  })
  const all = [...environment.problems, ...problems]
  if (all.length > 0) return yield* refuse(all)
  return yield* Effect.mapError(Effect.fromResult(decoded), () => refuse(all))
})
