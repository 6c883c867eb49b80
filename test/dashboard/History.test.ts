import { describe, expect, it } from "@effect/vitest"
import * as History from "../../src/dashboard/History.ts"

const sample = (n: number) => ({ log_frames: n, backlog_frames: n % 7, exposure_seconds: n / 1000 })

describe("a history", () => {
  it("remembers two hours, one sample a second, and then the oldest goes", () => {
    const history = History.make(1)
    for (let n = 0; n < 3 * 7200 + 5; n++) history.add(n, [sample(n)])
    const { at_seconds, backlog_frames, exposure_seconds, log_frames } = history.of(0)
    expect(at_seconds).toHaveLength(7200)
    expect([at_seconds[0], at_seconds.at(-1)]).toEqual([2 * 7200 + 5, 3 * 7200 + 4])
    expect(log_frames).toEqual(at_seconds)
    expect(backlog_frames).toEqual(at_seconds.map((n) => n % 7))
    expect(exposure_seconds[10]).toBe(14.415)
  })

  it("keeps apart what databases do, and what is unknown from 0", () => {
    const history = History.make(2)
    history.add(1, [{ log_frames: null, backlog_frames: null, exposure_seconds: null }, sample(3)])
    expect(history.of(0)).toEqual({
      at_seconds: [1],
      log_frames: [null],
      backlog_frames: [null],
      exposure_seconds: [null],
    })
    expect(history.of(1).log_frames).toEqual([3])
    expect(history.of(2).at_seconds).toEqual([])
  })

  it("has one sample a second, the later one", () => {
    const history = History.make(1)
    history.add(1, [sample(1)])
    history.add(2, [sample(2)])
    history.add(2, [sample(5)])
    expect(history.of(0)).toMatchObject({ at_seconds: [1, 2], log_frames: [1, 5] })
  })

  it("remembers less of each where there are very many", () => {
    const history = History.make(1000)
    const samples = Array.from({ length: 1000 }, (_, n) => sample(n))
    for (let n = 0; n < 1000; n++) history.add(n, samples)
    expect(history.of(999).at_seconds).toHaveLength(720)
  })
})
