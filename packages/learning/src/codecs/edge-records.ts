import { defineRecord, type FobsCodec, type RecordType, type RecordValue } from '@hanse/fobs'

const MODELS = 'nvflare.edge.web.models.'

// All are subclasses of dict without attributes (fobs.md §10.8). Devices may add fields, so keys are not checked.
function edgeRecord(module: string, type: string): RecordType {
  return defineRecord(`${MODELS}${module}.${type}`, { content: 'dict' })
}

/** The messages of edge devices, by class name. */
const edgeRecords = {
  DeviceInfo: edgeRecord('device_info', 'DeviceInfo'),
  UserInfo: edgeRecord('user_info', 'UserInfo'),
  Capabilities: edgeRecord('capabilities', 'Capabilities'),
  JobRequest: edgeRecord('job_request', 'JobRequest'),
  JobResponse: edgeRecord('job_response', 'JobResponse'),
  TaskRequest: edgeRecord('task_request', 'TaskRequest'),
  TaskResponse: edgeRecord('task_response', 'TaskResponse'),
  SelectionRequest: edgeRecord('selection_request', 'SelectionRequest'),
  SelectionResponse: edgeRecord('selection_response', 'SelectionResponse'),
  ResultReport: edgeRecord('result_report', 'ResultReport'),
  ResultResponse: edgeRecord('result_response', 'ResultResponse'),
  ErrorResponse: edgeRecord('error_response', 'ErrorResponse'),
} as const

/** Only for jobs with edge devices. */
export const edgeCodecs: readonly FobsCodec<RecordValue>[] = Object.values(edgeRecords).map(
  ({ codec }) => codec,
)
