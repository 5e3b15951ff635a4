/** Names of what figures are held against. */
export const STOCK = 'nvflare'
export const BARE_TLS = 'bare TLS sockets'
export const NO_PROOFS = 'without proofs'
export const NUMPY = 'numpy a += w * b'
export const COPY = 'plain copy'
