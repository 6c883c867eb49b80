/** Flags that are numbers: one that is none, or out of range, is told with an example of what is expected. */
import { Option } from "effect"
import { Flag } from "effect/cli"

interface NumberFlag {
  readonly name: string
  readonly description: string
  readonly metavar: string
  /** Such as `a number of seconds such as 30`. */
  readonly expected: string
  readonly isRight: (value: number) => boolean
}

const make = ({ description, expected, isRight, metavar, name }: NumberFlag) =>
  Flag.String(name).pipe(
    Flag.withDescription(description),
    Flag.withMetavar(metavar),
    Flag.filterMap(
      (given) => Option.filter(Option.some(given.trim() === "" ? Number.NaN : Number(given)), isRight),
      () => expected,
    ),
  )

/** The pause of a loop. Shorter it would do nothing else than to go round. */
export const interval = (name: string, description: string) =>
  make({
    name,
    description,
    metavar: "SECONDS",
    expected: "a number of seconds such as 30, at least 0.001",
    isRight: (value) => value >= 0.001 && Number.isFinite(value),
  })

export const seconds = (name: string, description: string) =>
  make({
    name,
    description,
    metavar: "SECONDS",
    expected: "a number of seconds such as 30, or 0",
    isRight: (value) => value >= 0 && Number.isFinite(value),
  })

export const whole = (name: string, description: string, metavar: string, example: number) =>
  make({
    name,
    description,
    metavar,
    expected: `a whole number such as ${example}, 0 or more`,
    isRight: (value) => Number.isSafeInteger(value) && value >= 0,
  })

export const port = (name: string, description: string) =>
  make({
    name,
    description,
    metavar: "PORT",
    expected: "a port such as 8501, between 0 and 65535",
    isRight: (value) => Number.isSafeInteger(value) && value >= 0 && value <= 65_535,
  })
