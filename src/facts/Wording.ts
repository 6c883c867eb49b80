/** How sizes and counts are written in what an operator reads. */

const units = ["bytes", "KiB", "MiB", "GiB", "TiB"]

export const size = (bytes: number): string => {
  const unit = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  return unit === 0 ? `${bytes} bytes` : `${(bytes / 1024 ** unit).toFixed(1)} ${units[unit]}`
}

export const count = (n: number, one: string, more = `${one}s`) => `${n} ${n === 1 ? one : more}`
