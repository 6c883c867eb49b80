/** How sizes and counts are written in what an operator reads. */
import { ByteSize } from "effect"

/** Such as "498.9 KiB". */
export const size = (bytes: number): string => ByteSize.format(ByteSize.bytes(Math.ceil(bytes)), { precision: 1 })

export const count = (n: number, one: string, more = `${one}s`) => `${n} ${n === 1 ? one : more}`

/** Milliseconds in the largest unit of which there are two or more, such as "3 min". */
export const duration = (millis: number): string => {
  const all = Math.max(0, Math.round(millis / 1000))
  if (all < 120) return `${all} s`
  if (all < 7200) return `${Math.floor(all / 60)} min`
  return all < 172_800 ? `${Math.floor(all / 3600)} h` : `${Math.floor(all / 86_400)} days`
}
