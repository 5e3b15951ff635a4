/** Base of values whose type is a name rather than a class of their own; the registry writes them by that name. */
export abstract class Named {
  abstract readonly typeName: string
}
