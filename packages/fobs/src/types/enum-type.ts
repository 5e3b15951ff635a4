import type { FobsCodec } from '../codec.ts'
import type { FobsValue } from '../fobs-value.ts'
import { type Hashable, hashKey } from '../hashable.ts'
import { shapeError } from '../shape.ts'
import { Named } from './named.ts'

const BY_NAME_DECOMPOSER = 'nvflare.fuel.utils.fobs.decomposer.EnumTypeDecomposer'

/** A member of a Python enum. There is one object per member, so members compare with `===`. */
export class EnumMember<Name extends string = string> extends Named implements Hashable {
  readonly typeName: string
  readonly name: Name
  readonly value: string | number
  readonly #equalsValue: boolean

  /** Made by `defineEnum` only. */
  constructor(typeName: string, name: Name, value: string | number, equalsValue: boolean) {
    super()
    this.typeName = typeName
    this.name = name
    this.value = value
    this.#equalsValue = equalsValue
    Object.freeze(this)
  }

  hashKey(): string | undefined {
    // A member of a str-based enum and its value are one key in Python.
    return this.#equalsValue ? hashKey(this.value) : `e${this.typeName}.${this.name}`
  }
}

/** An enum that a process knows. */
export interface EnumType<Name extends string = string> {
  readonly typeName: string
  readonly names: readonly Name[]
  readonly codec: FobsCodec<EnumMember>
  /** @throws {RangeError} for a name outside the enum, which is a mistake in our own code */
  member(name: Name): EnumMember<Name>
  /** The member of this name, or, for a str-based enum, the one whose text `value` is; else `undefined`. */
  find(value: unknown): EnumMember<Name> | undefined
}

export interface EnumOptions {
  /** Members equal their values, as those of `class X(str, Enum)` do. */
  readonly strBased?: boolean
  /** Travel by value instead of by name; then the decomposer has a name of its own. */
  readonly byValue?: { readonly decomposer: string }
}

/**
 * An enum without a decomposer of its own: the name and the members say all.
 * @param members value by member name
 */
export function defineEnum<const Members extends Readonly<Record<string, string | number>>>(
  typeName: string,
  members: Members,
  options: EnumOptions = {},
): EnumType<keyof Members & string> {
  type Name = keyof Members & string
  const strBased = options.strBased ?? false
  const byName = new Map<string, EnumMember<Name>>()
  const byValue = new Map<unknown, EnumMember<Name>>()
  for (const [name, value] of Object.entries(members)) {
    const member = new EnumMember(typeName, name as Name, value, strBased) // a key of Members
    byName.set(name, member)
    byValue.set(value, member)
  }
  const onWire: ReadonlyMap<unknown, EnumMember> = options.byValue ? byValue : byName
  return {
    typeName,
    names: [...byName.keys()] as Name[], // filled from the keys of Members
    codec: {
      typeName,
      decomposer: options.byValue?.decomposer ?? BY_NAME_DECOMPOSER,
      class: EnumMember,
      handles: (value) => value.typeName === typeName && byName.get(value.name) === value,
      compose(data: FobsValue) {
        const member = onWire.get(data)
        if (member === undefined) throw shapeError(typeName, 'one of its members')
        return member
      },
      decompose: (member) => (options.byValue ? member.value : member.name),
    },
    member(name) {
      const member = byName.get(name)
      if (member === undefined) throw new RangeError(`${typeName} has no member ${name}`)
      return member
    },
    find(value) {
      if (value instanceof EnumMember)
        return byName.get(value.name) === value ? (value as EnumMember<Name>) : undefined
      return strBased ? byValue.get(value) : undefined
    },
  }
}
