import { expect, it } from 'vitest'
import { lookupName } from './lookup-name.ts'

it.each([
  ['league.localhost', 'localhost'],
  ['a.b.LOCALHOST.', 'localhost'],
  ['localhost', 'localhost'],
  ['localhost.example.org', 'localhost.example.org'],
  ['notlocalhost', 'notlocalhost'],
  ['127.0.0.1', '127.0.0.1'],
])('looks up %s as %s', (host, name) => {
  expect(lookupName(host)).toBe(name)
})
