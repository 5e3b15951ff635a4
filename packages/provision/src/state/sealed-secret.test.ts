import { describe, expect, it } from 'vitest'
import { openSecret, sealedSecretSchema, sealSecret } from './sealed-secret.ts'

describe('a sealed secret', () => {
  it.each([
    ['a passphrase', false, 2 ** 16],
    ['a random key', true, 2 ** 14],
  ])(
    'opens with %s and its context only, at the cost that guessing needs',
    async (_, isRandom, cost) => {
      const { sealed, key } = await sealSecret('secret', { passphrase: 'p', isRandom }, 'context')
      expect(sealedSecretSchema.parse(sealed).cost).toBe(cost)
      const opened = await openSecret(sealed, 'p', 'context')
      expect(opened.secret).toBe('secret')
      expect(opened.key.verifyCode('state', key.code('state'))).toBe(true)
      for (const [passphrase, context] of [
        ['q', 'context'],
        ['p', 'other'],
      ] as const)
        await expect(openSecret(sealed, passphrase, context)).rejects.toMatchObject({
          code: 'ERR_PASSPHRASE_WRONG',
        })
    },
  )
})
