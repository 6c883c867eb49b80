/** How many cases of a property run: a quarter by default, all of them with `SEAWALL_TEST_ALL=1`. */
export const slice = (all: number): number => (process.env["SEAWALL_TEST_ALL"] === undefined ? Math.ceil(all / 4) : all)
