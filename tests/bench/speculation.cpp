// SPDX-License-Identifier: MIT
// Arguments MODEL.gguf [TOKENS [ROUNDS [THREADS]]]: tokens/s with a prompt lookup and without, in turn. The text is
// given, and the head is searched for it all the same: how many guesses come true does not depend on the model. A model
// of any weights will do: bitnet-bench --synthetic 2b4t --write MODEL.gguf
#include "ladder.hpp"

#include <bitnet/any.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using tokens = std::vector<bitnet::token>;

/// Chooses what it was told, and needs what a greedy sampler needs.
class given_text {
public:
    explicit given_text(const tokens& text) : text_(&text) {}
    std::size_t needs() const { return 1; }
    bitnet::token choose(std::span<const float>) const { return (*text_)[next_]; }
    bitnet::token choose(std::span<const bitnet::scored_token>) const { return (*text_)[next_]; }
    void accept(bitnet::token) { ++next_; }

private:
    const tokens* text_;
    std::size_t next_ = 0;
};

class random_numbers {
public:
    std::size_t below(std::size_t end) {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::size_t>(state_ >> 33) % end;
    }

private:
    std::uint64_t state_ = 1;
};

struct task {
    std::string_view name;
    tokens prompt;
    tokens text;
};

tokens random_text(random_numbers& random, std::size_t count, std::size_t vocabulary) {
    tokens made(count);
    std::generate(made.begin(), made.end(), [&] { return static_cast<bitnet::token>(random.below(vocabulary)); });
    return made;
}

/// The prompt, with one token in `each` another one.
tokens edited(random_numbers& random, tokens text, std::size_t each, std::size_t vocabulary) {
    for (bitnet::token& id : text) {
        id = each != 0 && random.below(each) == 0 ? static_cast<bitnet::token>(random.below(vocabulary)) : id;
    }
    return text;
}

std::vector<task> tasks_of(std::size_t count, std::size_t vocabulary) {
    random_numbers random;
    const tokens prompt = random_text(random, count, vocabulary);
    const std::size_t few = 12; // so that ends of three tokens stand before by chance, and go on otherwise
    return {{"copy", prompt, prompt},
            {"copy, one token in 20 another", prompt, edited(random, prompt, 20, vocabulary)},
            {"copy, one token in 6 another", prompt, edited(random, prompt, 6, vocabulary)},
            {"nothing repeats", prompt, random_text(random, count, vocabulary)},
            {"what repeats goes on otherwise", random_text(random, count, few), random_text(random, count, few)}};
}

struct outcome {
    double rate = 0; ///< tokens/s
    bitnet::speculation_statistics told;
};

bitnet::result<outcome> run(const bitnet::any_model& model, const task& todo, std::size_t threads, bool has_lookup) {
    auto session = bitnet::any_session::open(
        model,
        {.context = todo.prompt.size() + todo.text.size() + 1, .threads = threads, .stop_at_stop_tokens = false});
    if (!session) {
        return failed(session);
    }
    auto lookup = bitnet::prompt_lookup::open(session->context());
    if (!lookup) {
        return failed(lookup);
    }
    auto faster = bitnet::speculation<bitnet::prompt_lookup>::open(*session, *lookup);
    if (!faster) {
        return failed(faster);
    }
    if (auto fed = session->feed(todo.prompt); !fed) {
        return failed(fed);
    }
    given_text choose(todo.text);
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < todo.text.size(); ++i) {
        if (!(has_lookup ? faster->next(choose) : session->next(choose))) {
            return session->last_error();
        }
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    return outcome{static_cast<double>(todo.text.size()) / took.count(), faster->statistics()};
}

double median(std::vector<double> all) {
    std::sort(all.begin(), all.end());
    return all[all.size() / 2];
}

bitnet::result<void> compare(const bitnet::any_model& model, const task& todo, std::size_t rounds,
                             std::size_t threads) {
    std::vector<double> without;
    std::vector<double> with;
    bitnet::speculation_statistics told;
    for (std::size_t i = 0; i < rounds; ++i) {
        const auto plain = run(model, todo, threads, false);
        const auto faster = plain ? run(model, todo, threads, true) : failed(plain);
        if (!faster) {
            return failed(faster);
        }
        without.push_back(plain->rate);
        with.push_back(faster->rate);
        told = faster->told;
    }
    std::printf(
        "%-32.*s without %7.2f tok/s, with %7.2f, ratio %.3f; %.2f tokens to a pass, %llu of %llu guesses right\n",
        static_cast<int>(todo.name.size()), todo.name.data(), median(without), median(with),
        median(with) / median(without), told.tokens_per_pass(), static_cast<unsigned long long>(told.accepted),
        static_cast<unsigned long long>(told.drafted));
    return {};
}

std::size_t number(int argc, char** argv, int at, std::size_t usual) {
    return argc > at ? static_cast<std::size_t>(std::strtoul(argv[at], nullptr, 10)) : usual;
}

} // namespace

int main(int argc, char** argv) {
    if (argc < 2) {
        std::printf("MODEL.gguf is expected, and may be followed by numbers of tokens, rounds and threads\n");
        return 2;
    }
    const std::size_t count = (std::max)(number(argc, argv, 2, 200), std::size_t{1});
    const std::size_t rounds = (std::max)(number(argc, argv, 3, 3), std::size_t{1});
    const auto model = tools::open_model(argv[1], {.lm_head = bitnet::lm_head_mode::screened}, {}, "f16");
    if (!model) {
        std::printf("%s\n", model.error().message.c_str());
        return 1;
    }
    const std::size_t threads = (std::max)(number(argc, argv, 4, 2), std::size_t{1});
    for (const task& todo : tasks_of(count, model->parameters().vocabulary)) {
        if (auto done = compare(*model, todo, rounds, threads); !done) {
            std::printf("%s\n", done.error().message.c_str());
            return 1;
        }
    }
    return 0;
}
