#include "process/settings.h"

#include "process/cpus.h"
#include "process/ram.h"
#include "process/suggest.h"
#include "unit.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int set(struct settings *s, enum setting_id id, const char *text,
               struct problem *p) {
    return setting_set(s, &settings_table[id], text, LAYER_COMMAND, "-x", p);
}

TEST(defaults_are_in_range) {
    struct settings *s = settings_new();
    REQUIRE(s);
    EXPECT_EQ_INT(s->listen.count, 1);
    EXPECT_EQ_STR(s->listen.at[0], "127.0.0.1:8080");
    EXPECT_EQ_INT(s->isolates, 0);
    EXPECT(s->strict && !s->reuseport);
    EXPECT_EQ_INT(s->body_max, 16 << 20);
    EXPECT(s->slice_warn == 0.05);
    EXPECT_EQ_INT(s->gc, GC_INCREMENTAL);
    EXPECT_EQ_STR(s->user, "");
    settings_free(s);
}

TEST(writes_every_value_so_that_it_can_be_read) {
    struct settings *s = settings_new();
    char once[512], again[512];
    struct problem p;
    REQUIRE(s);
    for (size_t i = 0; i < SETTINGS; i++) {
        const struct setting *row = &settings_table[i];
        setting_text(s, row, once, sizeof once);
        EXPECT_EQ_STR(once, row->fallback);
        EXPECT_EQ_INT(setting_set(s, row, once, LAYER_COMMAND, "", &p), 0);
        EXPECT_EQ_STR(setting_text(s, row, again, sizeof again), once);
    }
    settings_free(s);
}

TEST(reads_seconds_with_units) {
    static const struct {
        const char *text;
        double value;
    } good[] = {{"1", 1},       {"0.5", 0.5},     {".5", 0.5},
                {"100ms", 0.1}, {"30s", 30},      {"5m", 300},
                {"1.5h", 5400}, {"0.001", 0.001}, {"86400", 86400}};
    static const char *const bad[] = {"",     "s",   "-1",  "1d", "1 s", " 1",
                                      "1e3",  "0",   "1.",  ".",  "inf", "nan",
                                      "0x10", "1,5", "25h", "1S", "1..5"};
    struct settings *s = settings_new();
    struct problem p;
    REQUIRE(s);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        EXPECT_EQ_INT(set(s, SET_head_timeout, good[i].text, &p), 0);
        EXPECT(s->head_timeout == good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!EXPECT(set(s, SET_head_timeout, bad[i], &p) < 0)) printf("%s\n", bad[i]);
    EXPECT(s->head_timeout == 86400);
    settings_free(s);
}

TEST(reads_sizes_by_1024) {
    static const struct {
        const char *text;
        long long value;
    } good[] = {{"0", 0},          {"1", 1},        {"64K", 65536},   {"64k", 65536},
                {"16M", 16 << 20}, {"1G", 1 << 30}, {"1.5K", 1536},   {"8KiB", 8192},
                {"8KB", 8192},     {"100B", 100},   {"1T", 1LL << 40}};
    static const char *const bad[] = {"",   "K",    "-1",    "1P",  "1.5",
                                      "2T", "64KX", "1e3",   "0x1", "64 K",
                                      "1i", "KiB",  "0.001K"};
    struct settings *s = settings_new();
    struct problem p;
    REQUIRE(s);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        EXPECT_EQ_INT(set(s, SET_body_max, good[i].text, &p), 0);
        EXPECT_EQ_INT(s->body_max, good[i].value);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!EXPECT(set(s, SET_body_max, bad[i], &p) < 0)) printf("%s\n", bad[i]);
    settings_free(s);
}

TEST(holds_counts_to_both_ends_of_their_range) {
    struct settings *s = settings_new();
    struct problem p;
    REQUIRE(s);
    EXPECT_EQ_INT(set(s, SET_isolates, "1", &p), 0);
    EXPECT_EQ_INT(set(s, SET_isolates, "1024", &p), 0);
    EXPECT_EQ_INT(s->isolates, 1024);
    EXPECT_EQ_INT(set(s, SET_isolates, "auto", &p), 0);
    EXPECT_EQ_INT(s->isolates, 0);
    EXPECT(set(s, SET_isolates, "0", &p) < 0);
    EXPECT(set(s, SET_isolates, "1025", &p) < 0);
    EXPECT_EQ_STR(p.text, "isolates must be from 1 to 1024, not 1025");
    EXPECT_EQ_INT(p.code, EX_CONFIG);
    EXPECT(set(s, SET_isolates, "two", &p) < 0);
    EXPECT_EQ_STR(p.text, "isolates must be a whole number or auto, not 'two'");
    EXPECT(set(s, SET_isolates, "99999999999999999999", &p) < 0);
    settings_free(s);
}

TEST(knows_words) {
    struct settings *s = settings_new();
    struct problem p;
    REQUIRE(s);
    EXPECT_EQ_INT(set(s, SET_gc, "generational", &p), 0);
    EXPECT_EQ_INT(s->gc, GC_GENERATIONAL);
    EXPECT(set(s, SET_gc, "gener", &p) < 0);
    EXPECT(set(s, SET_gc, "", &p) < 0);
    EXPECT(set(s, SET_gc, "incremental|generational", &p) < 0);
    EXPECT_EQ_STR(p.text, "gc must be incremental or generational, not "
                          "'incremental|generational'");
    EXPECT_EQ_INT(set(s, SET_strict, "off", &p), 0);
    EXPECT(!s->strict);
    EXPECT_EQ_INT(set(s, SET_strict, "yes", &p), 0);
    EXPECT(s->strict);
    EXPECT(set(s, SET_strict, "2", &p) < 0);
    settings_free(s);
}

TEST(knows_sets_of_words) {
    const struct setting *row = &settings_table[SET_compat];
    struct settings *s = settings_new();
    struct problem p;
    char text[512];
    REQUIRE(s);
    EXPECT_EQ_INT(s->compat, 0);
    EXPECT_EQ_INT(set(s, SET_compat, "ngx", &p), 0);
    EXPECT_EQ_INT(s->compat, COMPAT_NGX);
    EXPECT_EQ_INT(set(s, SET_compat, " 5.1,", &p), 0);
    EXPECT_EQ_STR(setting_text(s, row, text, sizeof text), "5.1,ngx");
    EXPECT(set(s, SET_compat, "5.1, 5.2", &p) < 0);
    EXPECT_EQ_STR(p.text, "compat must be 5.1 or ngx, not '5.2'");
    EXPECT(set(s, SET_compat, "5.1|ngx", &p) < 0);
    EXPECT_EQ_INT(setting_set(s, row, "5.1", LAYER_KEPT, "", &p), 0);
    EXPECT_EQ_INT(s->compat, COMPAT_LUA51);
    EXPECT_EQ_INT(setting_set(s, row, "", LAYER_DEFAULT, "", &p), 0);
    EXPECT_EQ_INT(s->compat, 0);
    settings_free(s);
}

TEST(lists_grow_in_a_layer_and_begin_anew_with_the_next) {
    const struct setting *row = &settings_table[SET_listen];
    struct settings *s = settings_new();
    struct problem p;
    char text[512];
    REQUIRE(s);
    EXPECT_EQ_INT(setting_set(s, row, ":1, :2", LAYER_FILE, "f:1", &p), 0);
    EXPECT_EQ_INT(setting_set(s, row, ":3", LAYER_FILE, "f:1", &p), 0);
    EXPECT_EQ_STR(setting_text(s, row, text, sizeof text), ":1,:2,:3");
    EXPECT_EQ_INT(setting_set(s, row, ":4", LAYER_COMMAND, "-l", &p), 0);
    EXPECT(setting_set(s, row, "nonsense", LAYER_COMMAND, "-l", &p) < 0);
    EXPECT(setting_set(s, row, " , ", LAYER_ENVIRONMENT, "X", &p) < 0);
    EXPECT_EQ_STR(setting_text(s, row, text, sizeof text), ":4");
    EXPECT_EQ_STR(s->origin[SET_listen], "-l");
    for (int i = 1; i < 64; i++)
        EXPECT_EQ_INT(setting_set(s, row, ":4", LAYER_COMMAND, "-l", &p), 0);
    EXPECT(setting_set(s, row, ":4", LAYER_COMMAND, "-l", &p) < 0);
    settings_free(s);
}

TEST(finds_rows_by_names_with_dashes_or_underscores) {
    EXPECT(setting_find("body_max") == &settings_table[SET_body_max]);
    EXPECT(setting_find("body-max") == &settings_table[SET_body_max]);
    EXPECT(setting_find("body_ma") == NULL);
    EXPECT(setting_find("body_maxx") == NULL);
    EXPECT(setting_find("") == NULL);
}

TEST(suggests_the_nearest_name) {
    EXPECT_EQ_STR(setting_suggest("bodymax"), "body_max");
    EXPECT_EQ_STR(setting_suggest("body-mxa"), "body_max");
    EXPECT_EQ_STR(setting_suggest("LISTEN"), "listen");
    EXPECT_EQ_STR(setting_suggest("requests_per"), "requests_per_connection");
    EXPECT(setting_suggest("xyzzy") == NULL);
    EXPECT(setting_suggest("") == NULL);
    EXPECT(setting_suggest("a_name_so_long_that_it_is_beyond_all_slips_of_fingers") ==
           NULL);
}

TEST(swapped_letters_are_one_slip) {
    struct suggestion s = suggest_for("ab");
    suggest_offer(&s, "xy");
    EXPECT(s.word == NULL);
    suggest_offer(&s, "ba");
    EXPECT_EQ_STR(s.word, "ba");
    EXPECT_EQ_INT(s.distance, 1);
}

/* A tree of cgroup files in a directory of its own. */
struct groups {
    char root[64], list[96];
};

static void put(const char *root, const char *name, const char *content) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *f = fopen(path, "w");
    if (!EXPECT(f)) return;
    fputs(content, f);
    fclose(f);
}

static bool begin(struct groups *g) {
    snprintf(g->root, sizeof g->root, "/tmp/groups.XXXXXX");
    snprintf(g->list, sizeof g->list, "%s/list",
             mkdtemp(g->root) ? g->root : "/nonexistent");
    return EXPECT(access(g->root, W_OK) == 0);
}

static void end(struct groups *g) {
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", g->root);
    EXPECT_EQ_INT(system(command), 0);
}

TEST(quota_of_version_2_rounds_up) {
    struct groups g;
    REQUIRE(begin(&g));
    put(g.root, "list", "0::/a/b\n");
    EXPECT_EQ_INT(cpus_of_quota(g.list, g.root), 0);
    put(g.root, "a/b/cpu.max", "max 100000\n");
    EXPECT_EQ_INT(cpus_of_quota(g.list, g.root), 0);
    put(g.root, "a/b/cpu.max", "150000 100000\n");
    EXPECT_EQ_INT(cpus_of_quota(g.list, g.root), 2);
    put(g.root, "a/b/cpu.max", "200000 100000\n");
    EXPECT_EQ_INT(cpus_of_quota(g.list, g.root), 2);
    put(g.root, "a/b/cpu.max", "5000 100000\n");
    EXPECT_EQ_INT(cpus_of_quota(g.list, g.root), 1);
    end(&g);
}

TEST(quota_is_the_tightest_up_to_the_root) {
    struct groups g;
    REQUIRE(begin(&g));
    put(g.root, "list", "0::/a/b\n");
    put(g.root, "a/b/cpu.max", "800000 100000\n");
    put(g.root, "a/cpu.max", "300000 100000\n");
    EXPECT_EQ_INT(cpus_of_quota(g.list, g.root), 3);
    /* In a container the path is the outer one, the files are at the mount's root. */
    put(g.root, "cpu.max", "200000 100000\n");
    put(g.root, "list", "0::/not/here\n");
    EXPECT_EQ_INT(cpus_of_quota(g.list, g.root), 2);
    end(&g);
}

TEST(quota_of_version_1_is_read) {
    struct groups g;
    REQUIRE(begin(&g));
    put(g.root, "list", "12:memory:/x\n4:cpu,cpuacct:/x\n1:name=systemd:/x\n");
    put(g.root, "cpu,cpuacct/x/cpu.cfs_quota_us", "-1\n");
    put(g.root, "cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ_INT(cpus_of_quota(g.list, g.root), 0);
    put(g.root, "cpu,cpuacct/x/cpu.cfs_quota_us", "250000\n");
    EXPECT_EQ_INT(cpus_of_quota(g.list, g.root), 3);
    put(g.root, "cpu/cpu.cfs_quota_us", "100000\n");
    put(g.root, "cpu/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ_INT(cpus_of_quota(g.list, g.root), 1);
    end(&g);
}

TEST(memory_of_groups_is_the_least) {
    struct groups g;
    REQUIRE(begin(&g));
    put(g.root, "list", "0::/a/b\n9:memory:/x\n");
    EXPECT_EQ_INT(ram_of_groups(g.list, g.root), 0);
    put(g.root, "memory/x/memory.limit_in_bytes", "9223372036854771712\n");
    put(g.root, "a/b/memory.max", "max\n");
    EXPECT_EQ_INT(ram_of_groups(g.list, g.root), 0);
    put(g.root, "a/memory.max", "3000000000\n");
    EXPECT_EQ_INT(ram_of_groups(g.list, g.root), 3000000000);
    put(g.root, "memory/x/memory.limit_in_bytes", "1048576\n");
    EXPECT_EQ_INT(ram_of_groups(g.list, g.root), 1048576);
    end(&g);
}

TEST(quota_without_files_limits_nothing) {
    EXPECT_EQ_INT(ram_of_groups("/nonexistent/list", "/nonexistent"), 0);
    EXPECT(ram_allowed() > 0);
    EXPECT_EQ_INT(cpus_of_quota("/nonexistent/list", "/nonexistent"), 0);
    EXPECT(cpus_allowed() >= 1);
}
