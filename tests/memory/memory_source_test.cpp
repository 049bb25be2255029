// SPDX-License-Identifier: MIT
// A host's own memory: nothing large comes from anywhere else, all of it is given back as it was given, and each
// refusal is an error that leaks nothing.
#include "bench/synthetic_model.hpp"
#include "golden/checkpoint_writer.hpp"
#include "io/temporary_folder.hpp"
#include "memory/limited_memory.hpp"
#include "memory/refused_allocations.hpp"

#include <bitnet/convert/checkpoint_converter.hpp>
#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/draft_model.hpp>
#include <bitnet/run/memory_estimate.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/prompt_lookup.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/scheduler.hpp>
#include <bitnet/run/speculation.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using bitnet_tests::limited_memory;
using bitnet_tests::temporary_folder;

namespace {

/// Four times less than what is promised never to come from operator new.
constexpr std::size_t large = 16384;

bitnet_tests::synthetic_shape wide_shape(std::size_t vocabulary) {
    bitnet_tests::synthetic_shape shape{{}, vocabulary};
    shape.model.layers = 2;
    shape.model.hidden = 256;
    shape.model.ffn = 512;
    shape.model.heads = 4;
    shape.model.kv_heads = 2;
    shape.model.context = 1024;
    return shape;
}

/// A GGUF file whose tables, tensors and logits are large.
const buffer<std::byte>& wide() {
    static const auto bytes = bitnet_tests::synthetic_model(wide_shape(20000), 1).writer().write_memory();
    REQUIRE(bytes);
    return *bytes;
}
/// One that is small, with a table of each kind.
const buffer<std::byte>& small() {
    static const auto bytes = bitnet_tests::synthetic_model(wide_shape(600), 1).writer().write_memory();
    REQUIRE(bytes);
    return *bytes;
}
std::string_view text_of(const buffer<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The file with its ternary tensors in a format that every policy repacks.
buffer<std::byte> repacked(const buffer<std::byte>& bytes) {
    const auto file = gguf_file::parse(bytes.span(), "as it was");
    REQUIRE(file);
    inline_pool pool;
    const auto converter = checkpoint_converter::open(*file, {.layout = "tq2_0"}, pool);
    REQUIRE(converter);
    auto written = (*converter)->write_memory();
    REQUIRE(written);
    return *std::move(written);
}

/// What a host does with a model: a scheduler, sessions with memory of their own and of a pool, a fork, a batch.
/// \return the tokens that came, or the first error
result<std::vector<token>> use(const any_model& model, const memory_source* memory) {
    auto pool = model.open_kv_pool(std::uint64_t{1} << 20);
    if (!pool) {
        return failed(pool);
    }
    const auto many = scheduler::open(model, {.speakers = 4, .answers = 2, .threads = 2});
    if (!many) {
        return failed(many);
    }
    std::vector<token> all;
    all.reserve(64);
    for (kv_pool* kv : {static_cast<kv_pool*>(nullptr), &*pool}) {
        auto session = any_session::open(model, {.context = 300, .threads = 2, .kv = kv, .stop_at_stop_tokens = false});
        if (!session) {
            return failed(session);
        }
        auto choose = sampler::open(sampler_options::greedy(), model.parameters().vocabulary, memory);
        if (!choose) {
            return failed(choose);
        }
        const std::vector<token> prompt(20, 77);
        if (auto fed = session->feed(prompt); !fed) {
            return failed(fed);
        }
        auto fork = session->fork();
        if (!fork) {
            return failed(fork);
        }
        for (int i = 0; i < 3; ++i) {
            all.push_back(session->next(*choose).value_or(no_token));
            all.push_back(fork->next(*choose).value_or(no_token));
        }
        auto batch = any_batch::open(model, {.sessions = 2, .threads = 2});
        if (!batch) {
            return failed(batch);
        }
        any_session* const both[] = {&*session, &*fork};
        if (auto stepped = batch->run_pending(both); !stepped) {
            return failed(stepped);
        }
        const auto logits = session->largest_logits(1);
        if (!logits) {
            return failed(logits);
        }
        all.push_back(logits->front().id);
    }
    return all;
}

/// A session that guesses, by a lookup and by a model. \return the tokens that came, or the first error
result<std::vector<token>> guess(const any_model& model, const memory_source* memory) {
    const session_options options{.context = 300, .threads = 1, .stop_at_stop_tokens = false};
    auto session = any_session::open(model, options);
    if (!session) {
        return failed(session);
    }
    auto lookup = prompt_lookup::open(session->context(), 1, memory);
    if (!lookup) {
        return failed(lookup);
    }
    auto draft = draft_model::open(model, model, options);
    if (!draft) {
        return failed(draft);
    }
    auto faster = speculation<prompt_lookup>::open(*session, *lookup, {.is_adaptive = false});
    if (!faster) {
        return failed(faster);
    }
    auto choose = sampler::open(sampler_options::greedy(), model.parameters().vocabulary, memory);
    if (!choose) {
        return failed(choose);
    }
    if (auto fed = session->feed(std::vector<token>(20, 77)); !fed) {
        return failed(fed);
    }
    std::vector<token> all;
    for (int i = 0; i < 6; ++i) {
        all.push_back(faster->next(*choose).value_or(no_token));
    }
    all.push_back(draft->propose(session->tokens(), 2).size() == 2 ? 1 : 0);
    return all;
}

/// Opens with a source and without one, and compares. \return bytes that came from the source for weights
template <class Open> std::uint64_t check_that_nothing_large_bypasses(const Open& open) {
    bitnet_tests::count_large(large);
    const result<any_model> plain = open(open_options{});
    REQUIRE(plain);
    const auto expected = use(*plain, nullptr);
    CHECK(bitnet_tests::stop_counting_large() > 20);
    REQUIRE_MESSAGE(expected, (expected ? "" : expected.error().message));
    limited_memory memory;
    {
        bitnet_tests::count_large(large);
        const result<any_model> model = open(open_options{.memory = memory.source()});
        const bool is_open = model.has_value();
        const auto given = is_open ? use(*model, memory.source()) : result<std::vector<token>>(std::vector<token>());
        const std::size_t bypassed = bitnet_tests::stop_counting_large();
        CHECK(bypassed == 0);
        REQUIRE(model);
        REQUIRE(given);
        CHECK(*given == *expected);
        CHECK(memory.live_blocks() != 0);
    }
    CHECK(memory.live_blocks() == 0);
    CHECK(memory.is_sound());
    CHECK(memory.bytes(memory_use::pages) != 0);
    CHECK(memory.bytes(memory_use::scratch) != 0);
    return memory.bytes(memory_use::weights);
}

/// Calls `call`, which returns an errc, with each one of its blocks refused.
template <class Call> void refuse_each(limited_memory& memory, const Call& call) {
    const std::size_t before = memory.live_blocks();
    for (const bool all : {false, true}) {
        bool was_refused = true;
        for (std::size_t granted = 0; was_refused; ++granted) {
            CAPTURE(granted);
            memory.refuse_after(granted, all);
            const errc code = call();
            was_refused = memory.stop_refusing();
            REQUIRE(code == (was_refused ? errc::out_of_memory : errc{}));
            REQUIRE(memory.live_blocks() == before);
        }
    }
    CHECK(memory.is_sound());
}

template <class T> errc code_of(const result<T>& made) { return made ? errc{} : made.error().code; }

} // namespace

TEST_CASE("with a source of the host's, nothing large of a model and its sessions comes from operator new") {
    const std::uint64_t head = std::uint64_t{20000} * 256 * 2;
    const auto borrowed = [](lm_head_mode head_mode) {
        return [head_mode](open_options options) {
            options.lm_head = head_mode;
            return any_model::open(byte_source::borrow(wide().span(), "wide"), options);
        };
    };
    CHECK(check_that_nothing_large_bypasses(borrowed(lm_head_mode::as_stored)) < head / 4);
    CHECK(check_that_nothing_large_bypasses(borrowed(lm_head_mode::screened)) > head / 3);
    CHECK(check_that_nothing_large_bypasses(borrowed(lm_head_mode::automatic)) > 0);
}

TEST_CASE("what a source gives is what estimate_memory says, use by use and within one in a hundred") {
    const temporary_folder folder;
    const std::string path = folder.write("wide.gguf", text_of(wide()));
    for (const page_mode pages : {page_mode::mapped, page_mode::copied}) {
        for (const lm_head_mode head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
            for (const bool is_repacked : {false, true}) {
                CAPTURE(is_repacked);
                limited_memory memory;
                const open_options options{.pages = pages, .lm_head = head, .memory = memory.source()};
                const std::string file = is_repacked ? folder.write("repacked.gguf", text_of(repacked(wide()))) : path;
                const auto estimated = estimate_memory(file, options, {.context = 1000});
                REQUIRE(estimated);
                CHECK(memory.live_blocks() == 0);
                const auto model = any_model::open(file, options);
                REQUIRE(model);
                auto session = any_session::open(*model, {.context = 1000, .threads = 1});
                REQUIRE(session);
                const auto check_close = [](std::uint64_t said, std::uint64_t given) {
                    INFO(said << " bytes estimated, " << given << " given");
                    CHECK(100 * said >= 99 * given);
                    CHECK(100 * said <= 101 * given);
                };
                const memory_estimate& e = *estimated;
                CHECK((e.repacked != 0) == is_repacked);
                check_close(e.copied + e.repacked + e.screen + e.norms, memory.bytes(memory_use::weights));
                check_close(e.tokenizer + e.tables, memory.bytes(memory_use::tables));
                check_close(e.keys_and_values, memory.bytes(memory_use::pages));
                check_close(e.scratch + e.logits + e.tokens, memory.bytes(memory_use::scratch));
                check_close(e.model() + e.session(), memory.live_bytes());
                CHECK((e.ahead != 0) == (head == lm_head_mode::screened));
                std::uint64_t before = memory.live_bytes();
                REQUIRE(session->reserve_ahead());
                check_close(e.ahead, memory.live_bytes() - before);
                before = memory.live_bytes();
                const auto lookup = prompt_lookup::open(1000, 3, memory.source());
                REQUIRE(lookup);
                CHECK(memory.live_bytes() - before == prompt_lookup::bytes(1000));
            }
        }
    }
}

TEST_CASE("what is repacked or copied comes from the host's source") {
    const temporary_folder folder;
    const std::string path = folder.write("wide.gguf", text_of(wide()));
    const auto copied = [&path](open_options options) {
        options.pages = page_mode::copied;
        options.verify_codes = true;
        return any_model::open(path, options);
    };
    CHECK(check_that_nothing_large_bypasses(copied) > wide().size());
    const buffer<std::byte> other = repacked(wide());
    const auto repacking = [&other](open_options options) {
        return any_model::open(byte_source::borrow(other.span(), "repacked"), options);
    };
    CHECK(check_that_nothing_large_bypasses(repacking) > 2 * 2 * 256 * 512 / 4);
}

TEST_CASE("a session, a KV pool and a batch may have their memory from another source than the model") {
    limited_memory of_model;
    limited_memory of_session;
    const auto model =
        any_model::open(byte_source::borrow(small().span(), "small"), {.threads = 1, .memory = of_model.source()});
    REQUIRE(model);
    const std::size_t before = of_model.requests();
    {
        auto pool = model->open_kv_pool(std::uint64_t{1} << 20, of_session.source());
        REQUIRE(pool);
        const std::uint64_t pages = of_session.live_bytes();
        CHECK(pages >= pool->page_bytes() * pool->pages());
        auto session = any_session::open(*model, {.context = 100, .threads = 1, .memory = of_session.source()});
        auto paged =
            any_session::open(*model, {.context = 100, .threads = 1, .kv = &*pool, .memory = of_session.source()});
        auto batch = any_batch::open(*model, {.sessions = 2, .threads = 1, .memory = of_session.source()});
        REQUIRE((session && paged && batch));
        auto fork = session->fork();
        REQUIRE(fork);
        CHECK(of_session.live_bytes() > pages);
        CHECK(of_model.requests() == before);
    }
    CHECK(of_session.live_blocks() == 0);
    CHECK(of_session.is_sound());
}

TEST_CASE("large blocks that are read from end to end are marked for huge pages") {
    limited_memory memory;
    const temporary_folder folder;
    const std::string path = folder.write("small.gguf", text_of(small()));
    const auto model = any_model::open(path, {.pages = page_mode::copied, .threads = 1, .memory = memory.source()});
    REQUIRE(model);
    CHECK(memory.huge_page_bytes() >= small().size());
    const std::uint64_t before = memory.huge_page_bytes();
    const auto session = any_session::open(*model, {.context = 512, .threads = 1});
    REQUIRE(session);
    const auto& shape = model->parameters();
    CHECK(memory.huge_page_bytes() - before >= 2 * shape.layers * shape.kv_heads * shape.head_size * 512 * 2);
}

TEST_CASE("a model opens or says that memory ended, at each block of the host's source") {
    limited_memory memory;
    const temporary_folder folder;
    const std::string path = folder.write("small.gguf", text_of(small()));
    const buffer<std::byte> other = repacked(small());
    const open_options one_thread{.lm_head = lm_head_mode::as_stored, .threads = 1, .memory = memory.source()};
    refuse_each(memory, [&] {
        open_options options = one_thread;
        options.lm_head = lm_head_mode::screened;
        return code_of(any_model::open(byte_source::borrow(small().span(), "small"), options));
    });
    refuse_each(memory, [&] {
        open_options options = one_thread;
        options.pages = page_mode::copied;
        options.verify_codes = true;
        return code_of(any_model::open(path, options));
    });
    refuse_each(memory,
                [&] { return code_of(any_model::open(byte_source::borrow(other.span(), "repacked"), one_thread)); });
}

TEST_CASE("sessions, forks, pools, batches and samplers open or say that memory ended, at each block") {
    limited_memory memory;
    const auto model = any_model::open(byte_source::borrow(small().span(), "small"),
                                       {.lm_head = lm_head_mode::screened, .threads = 1, .memory = memory.source()});
    REQUIRE(model);
    refuse_each(memory, [&] { return code_of(use(*model, memory.source())); });
    refuse_each(memory, [&] { return code_of(guess(*model, memory.source())); });
    const std::string word(300, 'x'); // a piece that is merged in memory of its own
    const auto ids = model->text().encode(word);
    REQUIRE(ids);
    const std::size_t before = memory.requests();
    refuse_each(memory, [&] {
        const auto again = model->text().encode(word);
        CHECK((!again || *again == *ids));
        return code_of(again);
    });
    CHECK(memory.requests() > before);
}
