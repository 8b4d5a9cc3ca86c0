"""The full disk once more, on xfs: it allocates, preallocates and runs out in another way."""
from kstream_test import *
from test_disk_full import full_disk_is_restarted_and_tidied, full_disk_refuses_puts_keeps_reads_and_recovers, start_on_a_full_disk_says_so


def test_full_xfs_refuses_puts_keeps_reads_and_recovers(scratch):
    full_disk_refuses_puts_keeps_reads_and_recovers(scratch, "xfs")


def test_full_xfs_is_restarted_and_tidied(scratch):
    full_disk_is_restarted_and_tidied(scratch, "xfs")


def test_start_on_a_full_xfs_says_so(scratch):
    start_on_a_full_disk_says_so(scratch, "xfs")


run_tests(test_full_xfs_refuses_puts_keeps_reads_and_recovers, test_full_xfs_is_restarted_and_tidied, test_start_on_a_full_xfs_says_so)
