export { type ArrayFile, type ArrayFileOptions, openArrayFile } from './array-file.ts'
export { type FileJobStoreComponents, openFileJobStore } from './file-job-store.ts'
