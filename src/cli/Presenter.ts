/**
 * How the command line answers: help that was asked for goes to standard output, and what is wrong with a call to standard error, with one
 * line of how it is used, so that a pipe never gets a page of help in place of an answer.
 */
import { Console, Effect } from "effect"
import { CliOutput } from "effect/cli"
import { printable } from "../files/Printable.ts"

/** Without colours, whose characters could not be told from those of an argument. */
const plain = CliOutput.defaultFormatter({ colors: false })

/** Lines of an error are indented; one that is not comes from an argument with a line break. */
const inOwnLines = (text: string) =>
  text
    .replaceAll(/\n(?! {2}|\n|ERROR)/g, " ")
    .split("\n")
    .map(printable)
    .join("\n")

export const layer = CliOutput.layerPresenter({
  present: Effect.fnUntraced(function* (event) {
    if (event._tag !== "InvalidInvocation") return yield* CliOutput.defaultPresenter.present(event)
    const { commandPath, errors, helpDoc } = event
    yield* Console.error(`${inOwnLines(plain.formatErrors(errors).trim())}\n\nusage: ${helpDoc.usage}`)
    yield* Console.error(`more:  ${commandPath.join(" ")} --help`)
  }),
})

/** What people type in place of a flag. */
export const spelled = ([first, ...rest]: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (first === "help") return [...rest, "--help"]
  if (first === "version" && rest.length === 0) return ["--version"]
  return first === undefined ? [] : [first, ...rest]
}
