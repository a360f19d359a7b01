/* Which campaign or run a name means, and what is said where it means none or several. */
#include "store_fixture.h"

static char folder[PATH_BYTES], path[PATH_BYTES];
static sq_db *db;
static char uuid[SQ_UUID_TEXT];
static int64_t run_id;

static int set_up(void **state)
{
    (void)state;
    make_folder(folder);
    join(path, folder, "a.db");
    db = must_open(path, SQ_DB_WRITE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sq_db_close(db);
    remove_folder(folder);
    return 0;
}

static void add_campaign(const char *id, const char *label, double started)
{
    sq_campaign campaign = demo_campaign("plan", label, started);
    snprintf(campaign.uuid, sizeof campaign.uuid, "%s", id);
    must_begin(db, &campaign);
}

static void expect_campaign(const char *text, const char *want)
{
    must(sq_db_resolve_campaign(db, text, uuid, &last_error));
    assert_string_equal(uuid, want);
}

static void refuse_campaign(const char *text, const char *says)
{
    assert_int_equal(sq_db_resolve_campaign(db, text, uuid, &last_error), SQ_BAD_ARGUMENT);
    assert_says(says);
    assert_string_equal(uuid, "");
}

/* uuids that begin alike */
#define FIRST "aaaa1111-0000-4000-8000-000000000000"
#define SECOND "aaaa2222-0000-4000-8000-000000000000"
#define THIRD "bbbb0000-0000-4000-8000-000000000000"
#define FOURTH "cccc0000-0000-4000-8000-000000000000"

static void add_campaigns(void)
{
    add_campaign(FIRST, "first", 10);
    add_campaign(SECOND, "night", 20);
    add_campaign(THIRD, "bbbb", 30);
    add_campaign(FOURTH, "night", 40);
}

static void test_campaign_names(void **state)
{
    (void)state;
    add_campaigns();
    expect_campaign("latest", FOURTH);
    expect_campaign("latest~0", FOURTH);
    expect_campaign("latest~1", THIRD);
    expect_campaign("latest~3", FIRST);
    expect_campaign("aaaa1", FIRST);
    expect_campaign("AAAA2", SECOND);
    expect_campaign(SECOND, SECOND);
    expect_campaign("c", FOURTH);
    expect_campaign("first", FIRST);
}

/* The newest is what was stored last, also where its clock was set back by years. */
static void test_clock_set_back(void **state)
{
    (void)state;
    add_campaign(FIRST, "", 2e9);
    add_campaign(SECOND, "", 1.7e9);
    add_campaign(THIRD, "", 1.7e9);
    expect_campaign("latest", THIRD);
    expect_campaign("latest~1", SECOND);
    expect_campaign("latest~2", FIRST);
    sq_db_campaign known;
    bool found;
    must(sq_db_find_campaign(db, "plan", &known, &found, &last_error));
    assert_string_equal(known.uuid, THIRD);
    /* what the clock said is kept as it was */
    assert_int_equal(get_int(db, "SELECT max(started) - min(started) FROM campaign"), 300000000);
}

static void test_label_wins_over_prefix(void **state)
{
    (void)state;
    add_campaigns();
    add_campaign("dddd0000-0000-4000-8000-000000000000", "aaaa", 50);
    expect_campaign("aaaa", "dddd0000-0000-4000-8000-000000000000");
    /* and a whole uuid over a label of the same text */
    add_campaign("eeee0000-0000-4000-8000-000000000000", FIRST, 60);
    expect_campaign(FIRST, FIRST);
}

static void test_unknown_and_ambiguous_campaigns(void **state)
{
    (void)state;
    refuse_campaign("latest", "holds none");
    refuse_campaign("night", "holds none");
    add_campaigns();
    refuse_campaign("aaaa", "more than one campaign: aaaa2222 (quick night, 1970-01-01 00:00:20), "
                            "aaaa1111");
    refuse_campaign("night", "more than one campaign: cccc0000");
    refuse_campaign("nihgt", "did you mean \"night\"");
    refuse_campaign("zzzzzzzzzzzzzzzzzz", "the newest are night, bbbb, night, first");
    refuse_campaign("latest~4", "holds fewer");
    refuse_campaign("latest~", "unknown campaign");
    refuse_campaign("latest~x", "unknown campaign");
    refuse_campaign("latest~99999999999999999999", "holds fewer");
    refuse_campaign("", "empty");
    refuse_campaign("%", "unknown campaign");
    refuse_campaign("' OR 1=1 --", "unknown campaign");
}

static void test_baseline(void **state)
{
    (void)state;
    add_campaigns();
    assert_int_equal(sqlite3_exec(sq_db_handle(db),
                                  "INSERT INTO baseline(name, campaign_id, tree_path) "
                                  "SELECT 'h100', campaign_id, '' "
                                  "FROM campaign WHERE label = 'first'",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    expect_campaign("baseline:h100", FIRST);
    refuse_campaign("baseline:h200", "unknown baseline \"h200\"");
    refuse_campaign("h100", "did you mean \"baseline:h100\"?");
}

static void put_run(const char *id, double length, int replicate, double started)
{
    sq_cell cell = demo_cell(length);
    sq_record record = demo_record(&cell, replicate, 0, SQ_RUN_OK, 10);
    snprintf(record.uuid, sizeof record.uuid, "%s", id);
    record.started = started;
    sq_sink sink = sq_db_sink(db);
    sq_status put = sink.run(sink.self, &record, &last_error);
    sq_record_free(&record);
    must(put);
}

static void expect_run(const char *text, int64_t want)
{
    must(sq_db_resolve_run(db, text, &run_id, &last_error));
    assert_int_equal(run_id, want);
}

static void refuse_run(const char *text, const char *says)
{
    assert_int_equal(sq_db_resolve_run(db, text, &run_id, &last_error), SQ_BAD_ARGUMENT);
    assert_says(says);
    assert_int_equal(run_id, 0);
}

static void key_of(double length, char key[SQ_KEY_MAX], char hash[SQ_HASH_TEXT])
{
    sq_cell cell = demo_cell(length);
    sq_cell_key(&cell, key);
    sq_hash_text(key, hash);
}

static void test_run_names(void **state)
{
    (void)state;
    char key[SQ_KEY_MAX], hash[SQ_HASH_TEXT];
    key_of(8, key, hash);
    refuse_run("1", "holds none");
    add_campaign(FIRST, "", 1);
    put_run("7777aaaa-0000-4000-8000-000000000000", 8, 0, 30); /* id 1 */
    put_run("7777bbbb-0000-4000-8000-000000000000", 8, 1, 20); /* id 2, the latest of its cell,
                                                                  by a clock set back */
    put_run("9999bbbb-0000-4000-8000-000000000000", 16, 0, 40);
    expect_run("1", 1);
    expect_run("2", 2);
    expect_run("7777b", 2);
    expect_run("9999", 3); /* digits, but no such id */
    expect_run(key, 2);
    expect_run(hash, 2);
    hash[9] = '\0';
    expect_run(hash, 2);
    key_of(16, key, hash);
    expect_run(key, 3);
    refuse_run("7777", "more than one run or cell: run 7777aaaa-0000-4000-8000-000000000000, run "
                       "7777bbbb");
    refuse_run("", "empty");
    key[0] = 'D'; /* nearly a key */
    refuse_run(key, "did you mean \"demo@cpu/ref/fwd/f32/B=2,L=16,pos=rope");
    refuse_run("no such thing", "the newest are demo@");
}

/* Two cells whose hashes begin with the same letter: among 40 lengths there are such. */
static void test_ambiguous_hash(void **state)
{
    (void)state;
    char key[SQ_KEY_MAX], hash[SQ_HASH_TEXT], text[2] = "";
    int seen[256] = {0};
    add_campaign(FIRST, "", 1);
    for (int length = 1; length <= 40; length++) {
        char id[16];
        snprintf(id, sizeof id, "run%d", length);
        put_run(id, length, 0, 1);
        key_of(length, key, hash);
        if (hash[0] >= 'a' && ++seen[(unsigned char)hash[0]] == 2)
            text[0] = hash[0];
    }
    assert_true(text[0]);
    refuse_run(text, "more than one run or cell: cell ");
}

int main(void)
{
#define RESOLVE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        RESOLVE_TEST(test_campaign_names),
        RESOLVE_TEST(test_clock_set_back),
        RESOLVE_TEST(test_label_wins_over_prefix),
        RESOLVE_TEST(test_unknown_and_ambiguous_campaigns),
        RESOLVE_TEST(test_baseline),
        RESOLVE_TEST(test_run_names),
        RESOLVE_TEST(test_ambiguous_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
