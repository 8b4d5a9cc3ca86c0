/*
 * A fuzz target is one function over bytes from outside, in a file of its own (fuzz_<name>.c) with
 * seeds in corpus/<name>/. Built two ways: with libFuzzer (clang, -Dfuzz=true), and with
 * replay_main.c as a test that runs the seeds and mutations of them.
 */
#ifndef KS_TESTS_FUZZ_FUZZ_H
#define KS_TESTS_FUZZ_FUZZ_H

#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes); /* libFuzzer's name; returns 0 */

#endif
