/* What each file of the journal still owes its logs, and up to where they went in the newest block.
 */
#include "base/alloc.h"
#include "storage/journal_priv.h"

#define OWED_CAPACITY_MIN 64u

/* ---- what a file owes ---- */

static uint32_t owed_slot(const struct ks_journal_owed *rows, uint32_t capacity, uint64_t log_id)
{
    uint32_t slot = (uint32_t)((log_id * 0x9e3779b97f4a7c15ull) >> 32) & (capacity - 1);
    while (rows[slot].log_id != 0 && rows[slot].log_id != log_id)
        slot = (slot + 1) & (capacity - 1);
    return slot;
}

static bool owed_grow(struct ks_journal_file *file)
{
    uint32_t capacity = file->owed_capacity ? file->owed_capacity * 2 : OWED_CAPACITY_MIN;
    struct ks_journal_owed *rows = ks_calloc(capacity, sizeof *rows);
    if (!rows)
        return false;
    for (uint32_t i = 0; i < file->owed_capacity; i++) {
        if (file->owed[i].log_id != 0)
            rows[owed_slot(rows, capacity, file->owed[i].log_id)] = file->owed[i];
    }
    ks_free(file->owed);
    file->owed = rows;
    file->owed_capacity = capacity;
    return true;
}

struct ks_journal_owed *ks_journal_owe(
    struct ks_journal_file *file, uint64_t log_id, uint64_t last_sequence)
{
    if (file->owed_count + 1 > file->owed_capacity / 4 * 3 && !owed_grow(file) &&
        file->owed_count + 1 >= file->owed_capacity) {
        file->is_untracked = true; /* the batch has its sequence: from here on nothing may fail */
        return NULL;
    }
    struct ks_journal_owed *row = &file->owed[owed_slot(file->owed, file->owed_capacity, log_id)];
    bool is_new = row->log_id == 0;
    if (is_new || row->is_covered)
        file->uncovered++;
    file->owed_count += is_new;
    row->log_id = log_id;
    row->last_sequence = ks_max_u64(row->last_sequence, last_sequence);
    row->is_covered = false;
    return row;
}

void ks_journal_file_cover(struct ks_journal_file *file, uint64_t log_id, uint64_t last_sequence)
{
    if (file->owed_capacity == 0)
        return;
    struct ks_journal_owed *row = &file->owed[owed_slot(file->owed, file->owed_capacity, log_id)];
    if (row->log_id == 0 || row->is_covered || row->last_sequence > last_sequence)
        return;
    row->is_covered = true;
    file->uncovered--;
}

bool ks_journal_file_is_needed(const struct ks_journal_file *file)
{
    return file->uncovered > 0 || file->is_untracked;
}

void ks_journal_file_forget(struct ks_journal_file *file)
{
    ks_free(file->owed);
    file->owed = NULL;
    file->owed_capacity = 0;
    file->owed_count = 0;
    file->uncovered = 0;
    file->is_untracked = false;
    file->used_bytes = KS_JOURNAL_FILE_HEADER_BYTES;
}

/* ---- the ends of the newest block ---- */

struct ks_journal_ends *ks_journal_ends_begin(struct ks_journal *journal)
{
    struct ks_journal_ends *ends = &journal->ends[1 - journal->newest_ends];
    ends->count = 0;
    ends->left_out = 0;
    ends->ordinals = 0;
    return ends;
}

void ks_journal_ends_note(struct ks_journal_ends *ends, struct ks_journal_owed *owed,
    const struct ks_journal_entry *entry)
{
    ends->ordinals += ks_journal_entry_ordinals(entry);
    struct ks_journal_end end = {.log_id = entry->log_id,
        .last_sequence = entry->last_sequence,
        .is_closed = entry->kind == KS_BATCH_CLOSE};
    if (owed && owed->end_index < ends->count &&
        ends->rows[owed->end_index].log_id == entry->log_id) {
        ends->rows[owed->end_index] = end;
        return;
    }
    if (ends->count == KS_JOURNAL_ENDS_MAX) {
        ends->left_out++;
        return;
    }
    if (owed)
        owed->end_index = ends->count;
    ends->rows[ends->count++] = end;
}

void ks_journal_ends_finish(struct ks_journal *journal)
{
    journal->newest_ends = 1 - journal->newest_ends;
}

void ks_journal_note_newest(
    struct ks_journal *journal, const struct ks_journal_entry *entries, uint32_t entry_count)
{
    struct ks_journal_ends *ends = ks_journal_ends_begin(journal);
    for (uint32_t i = 0; i < entry_count; i++)
        ks_journal_ends_note(ends, NULL, &entries[i]);
    ks_journal_ends_finish(journal);
}
