export const DAY_MS = 86_400_000

/** Clocks of other machines may be a little behind ours. */
export const BACKDATE_MS = 5 * 60_000

/** As stock has it (`spec/provision.md` §4); never longer than the root. */
export const LEAF_VALID_DAYS = 360
