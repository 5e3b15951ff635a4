export {
  type ArrayFile,
  type ArrayFileOptions,
  type FiledElements,
  openArrayFile,
} from './array-file.ts'
export { type FileJobStoreComponents, openFileJobStore } from './file-job-store.ts'
