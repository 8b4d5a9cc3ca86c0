#include "tools/ctl_format.h"

#include "tools/ctl_time.h"

static bool escape_of(char letter, char *out)
{
    switch (letter) {
    case 'n':
        *out = '\n';
        return true;
    case 't':
        *out = '\t';
        return true;
    case 'r':
        *out = '\r';
        return true;
    case '0':
        *out = '\0';
        return true;
    case '\\':
        *out = '\\';
        return true;
    default:
        return false;
    }
}

enum ks_status ctl_format_check(const char *format, struct ks_error *err)
{
    char escaped = 0;
    for (const char *at = format; *at; at++) {
        if (*at == '\\') {
            if (!escape_of(*++at, &escaped))
                return ks_fail(err, KS_USAGE, 0,
                    "'--format': '\\%.1s' is unknown; \\n \\t \\r \\0 \\\\ are known", at);
        } else if (*at == '%') {
            if (!*++at || !strchr("dktsS%", *at))
                return ks_fail(err, KS_USAGE, 0,
                    "'--format': '%%%.1s' is unknown; %%d data, %%k key, %%t time, %%s sequence, "
                    "%%S shard and %%%% are known",
                    at);
        }
    }
    return KS_OK;
}

bool ctl_format_has(const char *format, char letter)
{
    for (const char *at = format; *at; at++) {
        if (*at == '\\' && at[1])
            at++;
        else if (*at == '%' && *++at == letter)
            return true;
    }
    return false;
}

static void print_field(char letter, const struct ctl_format_fields *fields, FILE *to)
{
    char time[CTL_TIME_TEXT_BYTES];
    switch (letter) {
    case 'd':
        fwrite_unlocked(fields->data.data, 1, fields->data.bytes, to);
        break;
    case 'k':
        fwrite_unlocked(fields->key.data, 1, fields->key.bytes, to);
        break;
    case 't':
        ctl_time_to_local(fields->arrival_unix_ms, time);
        fputs_unlocked(time, to);
        break;
    case 's':
        fputs_unlocked(fields->sequence_number, to);
        break;
    case 'S':
        fputs_unlocked(fields->shard_id, to);
        break;
    default:
        fputc_unlocked('%', to);
        break;
    }
}

void ctl_format_print(const char *format, const struct ctl_format_fields *fields, FILE *to)
{
    for (const char *at = format; *at; at++) {
        char byte = *at;
        if (byte == '%') {
            print_field(*++at, fields, to);
            continue;
        }
        if (byte == '\\')
            KS_IGNORE(escape_of(*++at, &byte), "the format was checked");
        fputc_unlocked(byte, to);
    }
}
