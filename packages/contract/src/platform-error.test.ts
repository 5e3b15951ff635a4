import { describe, expect, it } from 'vitest'
import { TransportError } from './driver.ts'
import { hasCode, messageOf } from './platform-error.ts'

describe('PlatformError', () => {
  it('carries its class name, code, details and cause', () => {
    const cause = new Error('ECONNREFUSED')
    const error = new TransportError('ERR_CONNECT_REFUSED', 'refused', { port: 1 }, { cause })
    expect(error).toMatchObject({
      name: 'TransportError',
      code: 'ERR_CONNECT_REFUSED',
      details: { port: 1 },
      cause,
    })
    expect(hasCode(error, 'ERR_CONNECT_REFUSED')).toBe(true)
    expect(hasCode(error, 'ERR_LISTEN')).toBe(false)
  })

  it('reads a message from anything that was thrown', () => {
    expect(messageOf(new Error('x'))).toBe('x')
    expect(messageOf('y')).toBe('y')
  })
})
