"""tools/quickstart_compare.py must see each kind of damage, and tell the kinds apart."""
import os
import subprocess
import sys
import tempfile
import unittest

SCRIPT = os.environ['KS_QUICKSTART_COMPARE']
sys.path.insert(0, os.path.dirname(SCRIPT))
import quickstart_compare  # noqa: E402


def compare(sent, read):
    return quickstart_compare.compare({b'k': [c.encode() for c in sent]}, {b'k': [c.encode() for c in read]})


class Compare(unittest.TestCase):
    def expect(self, sent, read, **counts):
        wanted = dict(lost=0, duplicated=0, foreign=0, reordered=0)
        wanted.update(counts)
        self.assertEqual(compare(sent, read), wanted)

    def test_the_same_is_the_same(self):
        self.expect('abcabc', 'abcabc')

    def test_a_lost_record_is_lost_wherever_it_stood(self):
        for read in ('bcd', 'acd', 'abc'):
            self.expect('abcd', read, lost=1)

    def test_of_equal_records_one_may_be_lost(self):
        self.expect('aab', 'ab', lost=1)

    def test_a_record_twice_is_duplicated(self):
        self.expect('abc', 'abbc', duplicated=1)
        self.expect('abc', 'abca', duplicated=1)

    def test_two_in_each_others_place_are_reordered(self):
        self.expect('abcd', 'acbd', reordered=2)

    def test_a_changed_record_is_lost_and_its_change_foreign(self):
        self.expect('abc', 'aXc', lost=1, foreign=1)

    def test_all_at_once_are_told_apart(self):
        self.expect('abcdef', 'acbeeX', lost=2, duplicated=1, foreign=1, reordered=2)

    def test_a_record_under_another_key_is_lost_and_foreign(self):
        result = quickstart_compare.compare({b'k': [b'a']}, {b'l': [b'a']})
        self.assertEqual((result['lost'], result['foreign']), (1, 1))

    def run_on(self, sent, read):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for name, text in (('sent', sent), ('read', read)):
                paths.append(os.path.join(folder, name))
                with open(paths[-1], 'wb') as file:
                    file.write(text)
            return subprocess.run([sys.executable, SCRIPT, *paths], capture_output=True, check=False)

    def test_the_exit_code_says_it_and_order_between_keys_is_free(self):
        self.assertEqual(self.run_on(b'k\t1\nl\t2\n', b'l\t2\nk\t1\n').returncode, 0)
        self.assertEqual(self.run_on(b'k\t1\nk\t2\n', b'k\t2\nk\t1\n').returncode, 1)
        self.assertEqual(self.run_on(b'k\t1\n', b'k\t1 \n').returncode, 1)
        self.assertEqual(self.run_on(b'k\t1\n', b'').returncode, 1)

    def test_a_cut_output_is_no_output(self):
        self.assertNotEqual(self.run_on(b'k\t1\n', b'k\t1').returncode, 0)


unittest.main()
