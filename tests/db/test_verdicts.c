/* Verdicts as rows: stored whole or not at all, brought up to date, answered, and which answer holds
 * for a later night. */
#include "store_fixture.h"

#include <math.h>

#include "db/verdicts.h"

static char folder[PATH_BYTES], path[PATH_BYTES], night[SQ_UUID_TEXT], base[SQ_UUID_TEXT];
static char key[SQ_KEY_MAX];
static sq_db *db;

static void add_campaign(const char *label, double started, char uuid[SQ_UUID_TEXT])
{
    sq_campaign campaign = demo_campaign("plan", label, started);
    sq_cell cell = demo_cell(64);
    must_begin(db, &campaign);
    must_put(db, &cell, 0, 0, SQ_RUN_OK, started);
    must_finish(db, "finished");
    strcpy(uuid, campaign.uuid);
    sq_cell_key(&cell, key);
}

static int set_up(void **state)
{
    (void)state;
    make_folder(folder);
    join(path, folder, "a.db");
    db = must_open(path, SQ_DB_WRITE);
    add_campaign("base", 10, base);
    add_campaign("night", 20, night);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sq_db_close(db);
    remove_folder(folder);
    return 0;
}

static sq_gate demo_gate(void)
{
    sq_gate gate = {.baseline_name = "h100",
                    .judged = 30,
                    .version = "1",
                    .git_commit = "c",
                    .settings = "{}",
                    .exit_code = -1,
                    .why = "suspects",
                    .sentinels = 5,
                    .controls = 7,
                    .control_shift = 0.001,
                    .control_lo = NAN,
                    .control_hi = NAN};
    must(sq_uuid_new(gate.uuid, &last_error));
    strcpy(gate.campaign, night);
    strcpy(gate.baseline, base);
    return gate;
}

static sq_verdict demo_verdict(double effect)
{
    sq_verdict verdict = {.cell_key = key,
                          .metric = "time",
                          .verdict = "suspect_slower",
                          .confirmed = "pending",
                          .cause = "",
                          .effect = effect,
                          .effect_lo = effect - 0.01,
                          .effect_hi = effect + 0.01,
                          .p = 1e-6,
                          .q = 1e-3,
                          .floor = 0.01,
                          .detectable = NAN,
                          .n_baseline = 5,
                          .n_night = 5};
    must(sq_uuid_new(verdict.uuid, &last_error));
    return verdict;
}

static void answer(const sq_verdict *verdict, const char *kind, double made, double until)
{
    sq_answer a = {.made = made, .until = until, .author = "me"};
    snprintf(a.kind, sizeof a.kind, "%s", kind);
    snprintf(a.reason, sizeof a.reason, "%s at %g", kind, made);
    must(sq_db_put_answer(db, verdict->uuid, &a, &last_error));
}

/* The reason of the answer that holds; "" where none does. */
static const char *found_answer(const char *baseline, double at)
{
    static sq_answer a;
    bool found;
    a = (sq_answer){.made = 0};
    must(sq_db_find_answer(db, key, "time", "", baseline, at, &a, &found, &last_error));
    return found ? a.reason : "";
}

static void test_stored_and_brought_up_to_date(void **state)
{
    (void)state;
    sq_gate gate = demo_gate();
    sq_verdict verdicts[] = {demo_verdict(0.05), demo_verdict(0.002)};
    verdicts[1].metric = "cycles";
    verdicts[1].n_wanted = 12;
    must(sq_db_put_gate(db, &gate, verdicts, 2, &last_error));
    assert_int_equal(get_int(db,
                             "SELECT count(*) FROM gate WHERE exit_code IS NULL AND rerun_id IS "
                             "NULL AND control_lo IS NULL AND control_shift = 0.001"),
                     1);
    assert_int_equal(get_int(db, "SELECT count(*) FROM v_verdict WHERE label = 'night' AND "
                                 "baseline_name = 'h100' AND subject = 'demo' AND "
                                 "ack_kind IS NULL AND detectable IS NULL"),
                     2);
    assert_int_equal(get_int(db, "SELECT n_wanted FROM verdict WHERE metric = 'cycles'"), 12);
    gate.exit_code = 2;
    strcpy(gate.rerun, night);
    verdicts[0].confirmed = "confirmed";
    must(sq_db_put_gate(db, &gate, verdicts, 1, &last_error));
    assert_int_equal(get_int(db, "SELECT exit_code FROM gate WHERE rerun_id IS NOT NULL"), 2);
    assert_int_equal(get_int(db, "SELECT count(*) FROM verdict"), 2);
    assert_int_equal(get_int(db, "SELECT count(*) FROM verdict WHERE confirmed = 'confirmed'"), 1);
    must_be_whole(db);
}

static void test_whole_or_not_at_all(void **state)
{
    (void)state;
    sq_gate gate = demo_gate();
    sq_verdict verdicts[] = {demo_verdict(0.05), demo_verdict(0.05)};
    verdicts[1].cell_key = "nothing@nowhere";
    assert_int_equal(sq_db_put_gate(db, &gate, verdicts, 2, &last_error), SQ_BAD_ARGUMENT);
    assert_says("no cell nothing@nowhere");
    verdicts[1] = demo_verdict(0.05);
    verdicts[1].metric = "cycles";
    verdicts[1].confirmed = "perhaps";
    assert_int_equal(sq_db_put_gate(db, &gate, verdicts, 2, &last_error), SQ_STORE);
    strcpy(gate.baseline, "none");
    assert_int_equal(sq_db_put_gate(db, &gate, verdicts, 0, &last_error), SQ_BAD_ARGUMENT);
    assert_int_equal(get_int(db, "SELECT (SELECT count(*) FROM gate) + "
                                 "(SELECT count(*) FROM verdict)"),
                     0);
}

/* A night is judged again by a program that knows no uuids of the first time. */
static void test_a_verdict_keeps_its_name(void **state)
{
    (void)state;
    sq_gate gate = demo_gate();
    sq_verdict first = demo_verdict(0.05), again = demo_verdict(0.05);
    char uuid[SQ_UUID_TEXT];
    again.confirmed = "dismissed";
    must(sq_db_put_gate(db, &gate, &first, 1, &last_error));
    answer(&first, "expected", 50, NAN);
    must(sq_db_put_gate(db, &gate, &again, 1, &last_error));
    must(sq_db_resolve_verdict(db, first.uuid, uuid, &last_error));
    assert_int_equal(sq_db_resolve_verdict(db, again.uuid, uuid, &last_error), SQ_BAD_ARGUMENT);
    assert_int_equal(get_int(db, "SELECT count(*) FROM v_verdict WHERE confirmed = 'dismissed' "
                                 "AND ack_kind = 'expected'"),
                     1);
}

static void test_names(void **state)
{
    (void)state;
    char uuid[SQ_UUID_TEXT];
    assert_int_equal(sq_db_resolve_verdict(db, "ab", uuid, &last_error), SQ_BAD_ARGUMENT);
    assert_says("holds none");
    sq_gate gate = demo_gate();
    sq_verdict verdicts[] = {demo_verdict(0.05), demo_verdict(0.02)};
    strcpy(verdicts[0].uuid, "aaaa1111-0000-4000-8000-000000000000");
    strcpy(verdicts[1].uuid, "aaaa2222-0000-4000-8000-000000000000");
    verdicts[1].metric = "cycles";
    must(sq_db_put_gate(db, &gate, verdicts, 2, &last_error));
    must(sq_db_resolve_verdict(db, "AAAA1", uuid, &last_error));
    assert_string_equal(uuid, verdicts[0].uuid);
    assert_int_equal(sq_db_resolve_verdict(db, "aaaa", uuid, &last_error), SQ_BAD_ARGUMENT);
    assert_says("more than one verdict: aaaa1111 (suspect_slower, time of demo cpu/ref");
    assert_string_equal(uuid, "");
    assert_int_equal(sq_db_resolve_verdict(db, "aaaa1112", uuid, &last_error), SQ_BAD_ARGUMENT);
    assert_says("did you mean \"aaaa1111\"?");
    assert_int_equal(sq_db_resolve_verdict(db, "%", uuid, &last_error), SQ_BAD_ARGUMENT);
    assert_int_equal(sq_db_put_answer(db, "none", &(sq_answer){.kind = "flake"}, &last_error),
                     SQ_BAD_ARGUMENT);
}

static void test_which_answer_holds(void **state)
{
    (void)state;
    sq_gate gate = demo_gate();
    sq_verdict v = demo_verdict(0.05);
    must(sq_db_put_gate(db, &gate, &v, 1, &last_error));
    assert_string_equal(found_answer(base, 40), "");
    answer(&v, "expected", 50, NAN);
    assert_string_equal(found_answer(base, 1e9), "expected at 50");
    assert_string_equal(found_answer(night, 1e9), ""); /* another baseline: the change is in it */
    answer(&v, "flake", 60, 100);
    assert_string_equal(found_answer(night, 99), "flake at 60");
    assert_string_equal(found_answer(base, 101), ""); /* replaced, and over */
    answer(&v, "accepted", 20, NAN);                  /* by a clock set back: still the newest */
    assert_string_equal(found_answer(base, 101), "accepted at 20");
    assert_int_equal(get_int(db, "SELECT count(*) FROM v_verdict WHERE ack_kind = 'accepted'"), 1);
}

static void test_what_an_answer_covers(void **state)
{
    (void)state;
    const sq_answer slower = {
        .kind = "accepted", .effect = 0.05, .effect_lo = 0.03, .effect_hi = 0.07};
    const sq_answer smaller = {
        .kind = "expected", .effect = -0.05, .effect_lo = -0.07, .effect_hi = -0.03};
    const sq_answer flake = {.kind = "flake", .effect = 0.05, .effect_lo = 0.03, .effect_hi = 0.07};
    const sq_answer larger = {
        .kind = "accepted", .effect = 0.05, .effect_lo = NAN, .effect_hi = NAN};
    const sq_answer failing = {.kind = "accepted", .effect = NAN};
    assert_true(sq_answer_covers(&slower, 0.069) && sq_answer_covers(&slower, 0.01));
    assert_false(sq_answer_covers(&slower, 0.071));
    assert_false(sq_answer_covers(&slower, -0.05));
    assert_true(sq_answer_covers(&smaller, -0.069));
    assert_false(sq_answer_covers(&smaller, -0.071) || sq_answer_covers(&smaller, 0.05));
    assert_true(sq_answer_covers(&larger, 0.0501) && !sq_answer_covers(&larger, 0.062));
    assert_true(sq_answer_covers(&flake, 0.5) && sq_answer_covers(&failing, NAN));
}

int main(void)
{
#define VERDICT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        VERDICT_TEST(test_stored_and_brought_up_to_date),
        VERDICT_TEST(test_whole_or_not_at_all),
        VERDICT_TEST(test_a_verdict_keeps_its_name),
        VERDICT_TEST(test_names),
        VERDICT_TEST(test_which_answer_holds),
        VERDICT_TEST(test_what_an_answer_covers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
