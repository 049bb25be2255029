// SPDX-License-Identifier: MIT
// Opening on a thread of the host's own, told how far it is and given up at any step.
#include "golden/checkpoint_writer.hpp"
#include "golden/tiny_model_writer.hpp"
#include "io/temporary_folder.hpp"

#include <bitnet/run/any_session.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/sampler.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace bitnet;
using bitnet_tests::temporary_folder;

namespace {

/// What was told, and where to say no.
struct listener {
    std::size_t calls_before_no = SIZE_MAX;
    std::size_t calls = 0;
    std::uint64_t done = 0;
    std::uint64_t all = 0;
    bool is_sound = true;

    [[nodiscard]] open_progress told() noexcept {
        return {[](void* self, std::uint64_t now, std::uint64_t of) noexcept {
                    auto& heard = *static_cast<listener*>(self);
                    heard.is_sound = heard.is_sound && now >= heard.done && now <= of;
                    heard.done = now;
                    heard.all = of;
                    return heard.calls++ != heard.calls_before_no;
                },
                this};
    }
};

bitnet_tests::model_shape shape() {
    bitnet_tests::model_shape made;
    made.layers = 2;
    made.hidden = 256;
    made.ffn = 512;
    made.heads = 4;
    made.kv_heads = 2;
    return made;
}

std::string written(const temporary_folder& folder) {
    const auto bytes = bitnet_tests::tiny_model(shape());
    REQUIRE(bytes);
    return folder.write("tiny.gguf", {reinterpret_cast<const char*>(bytes->data()), bytes->size()});
}

/// Opens without a no, and then with one at each step. \return how many steps there are
template <class Open> std::size_t check_every_step(const Open& open, std::uint64_t least_bytes) {
    listener whole;
    {
        const auto model = open(whole);
        REQUIRE_MESSAGE(model, (model ? "" : model.error().message));
    }
    CHECK(whole.is_sound);
    CHECK(whole.done == whole.all);
    CHECK(whole.all >= least_bytes);
    for (std::size_t step = 0; step < whole.calls; ++step) {
        CAPTURE(step);
        listener heard{.calls_before_no = step};
        const auto refused = open(heard);
        REQUIRE_FALSE(refused);
        REQUIRE(refused.error().code == errc::cancelled);
        REQUIRE(refused.error().message.find("given up") != std::string::npos);
        REQUIRE(heard.calls == step + 1); // and asked no more
    }
    return whole.calls;
}

std::vector<token> told(const any_model& model) {
    auto session = any_session::open(model, {.threads = 2, .stop_at_stop_tokens = false});
    auto choose = sampler::open(sampler_options::greedy(), model.parameters().vocabulary);
    REQUIRE((session && choose));
    const token prompt[] = {1, 2, 3};
    REQUIRE(session->feed(prompt));
    std::vector<token> all;
    for (int i = 0; i < 8; ++i) {
        all.push_back(session->next(*choose).value_or(no_token));
    }
    return all;
}

} // namespace

TEST_CASE("opening tells how far it is and can be given up at every step") {
    const temporary_folder folder;
    const std::string path = written(folder);
    const auto bytes = byte_source::read(path);
    REQUIRE(bytes);
    const auto opening = [&path](open_options options) {
        return [&path, options](listener& heard) {
            open_options told = options;
            told.progress = heard.told();
            return any_model::open(path, told);
        };
    };
    const std::uint64_t size = bytes->bytes().size();
    const std::size_t mapped = check_every_step(opening({.pages = page_mode::mapped}), size / 2);
    CHECK(mapped > 2 * 7 + 2); // seven matrices in each layer
    const std::size_t copied = check_every_step(opening({.pages = page_mode::copied}), 3 * size / 2);
    CHECK(copied == mapped + 1);
    const std::size_t screened = check_every_step(
        opening({.pages = page_mode::mapped, .lm_head = lm_head_mode::screened}), size / 2 + 298 * 256 * 2);
    CHECK(screened == mapped + 1);
    const auto borrowed = [&](listener& heard) {
        return any_model::open(byte_source::borrow(bytes->bytes(), "tiny"), {.progress = heard.told()});
    };
    CHECK(check_every_step(borrowed, size / 2) == mapped);
}

TEST_CASE("the folder of a checkpoint can be given up at every step") {
    const temporary_folder folder;
    const auto bytes = bitnet_tests::tiny_model(shape());
    REQUIRE(bytes);
    bitnet_tests::checkpoint_of(bytes->span(), shape()).write_sharded(folder.path(), 2);
    const auto open = [&folder](listener& heard) {
        return any_model::open(folder.path(), {.load_tokenizer = false, .progress = heard.told()});
    };
    CHECK(check_every_step(open, 1000) > 10);
}

TEST_CASE("a model that one thread opens is used by another, and a third may give an opening up") {
    const temporary_folder folder;
    const std::string path = written(folder);
    const auto here = any_model::open(path);
    REQUIRE(here);
    const std::vector<token> expected = told(*here);

    std::optional<result<any_model>> there;
    std::thread opener([&] { there.emplace(any_model::open(path)); });
    opener.join();
    REQUIRE(*there);
    CHECK(told(**there) == expected);

    std::atomic<bool> is_wanted{true};
    const open_progress until_unwanted{[](void* wanted, std::uint64_t, std::uint64_t) noexcept {
                                           const auto& flag = *static_cast<std::atomic<bool>*>(wanted);
                                           while (flag.load()) { // the test's way of opening something that takes long
                                               std::this_thread::yield();
                                           }
                                           return false;
                                       },
                                       &is_wanted};
    std::thread again([&] { there.emplace(any_model::open(path, {.progress = until_unwanted})); });
    is_wanted.store(false);
    again.join();
    REQUIRE_FALSE(*there);
    CHECK(there->error().code == errc::cancelled);
}
