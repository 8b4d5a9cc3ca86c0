/* A directory of a test's own on a real disk; removed when the test's process exits. */
#ifndef KS_TESTS_UNIT_STORAGE_TEMP_DIR_H
#define KS_TESTS_UNIT_STORAGE_TEMP_DIR_H

/* One per process: the second call returns the first call's directory. */
const char *temp_dir(void);
/* temp_dir() "/" name, in one of eight static buffers, used in turn. */
const char *temp_path(const char *name);

#endif
