export { type Diagnosis, type DoctorComponents, diagnose } from './diagnose.ts'
export type { Fault, FaultCode } from './fault.ts'
