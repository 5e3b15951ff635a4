/** Says whether a parameter of this name is meant. */
export type ParamName = (name: string) => boolean
