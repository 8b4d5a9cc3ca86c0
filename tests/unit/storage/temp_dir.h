/* A directory of a test's own on a real disk; removed when the test's process exits. */
#ifndef KS_TESTS_UNIT_STORAGE_TEMP_DIR_H
#define KS_TESTS_UNIT_STORAGE_TEMP_DIR_H

/* The same at every call, until it is renewed. */
const char *temp_dir(void);
/* Removes it; the next call makes another. For the start of a test, so that CK_FORK=no works too.
 */
void temp_dir_renew(void);
/* temp_dir() "/" name, in one of eight static buffers, used in turn. */
const char *temp_path(const char *name);

#endif
