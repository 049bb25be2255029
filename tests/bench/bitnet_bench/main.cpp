// SPDX-License-Identifier: MIT
// bitnet-bench: tokens per second of prompts and of generation, as fractions of what this machine can do.
#include "commit.hpp"
#include "energy.hpp"
#include "kernels.hpp"
#include "machine.hpp"
#include "report.hpp"
#include "runner.hpp"
#include "schema.hpp"

#include "../synthetic_model.hpp"

#include "options.hpp"
#include "streams.hpp"
#include "utf8_path.hpp"

#include <bitnet/io/mapped_file.hpp>
#include <bitnet/thread/usable_cores.hpp>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::string_view program = "bitnet-bench";

struct settings {
    std::string file;
    std::string synthetic;
    std::string write;
    std::string prompts = "128,512";
    std::string generated = "64";
    std::string threads = "1," + std::to_string(bitnet::usable_cores());
    std::string isas;
    std::string layouts = "i2_s";
    std::string heads = "automatic";
    std::string kvs = "f16";
    std::string pages = "automatic";
    std::string activations = "default";
    std::string batches = "1";
    std::string sequences = "0";
    std::size_t context = 0;
    std::size_t repetitions = 5;
    std::size_t step = 0;
    std::string json;
    std::optional<std::string> schema; ///< its text
    std::string answers;
    bool kernels = false;
    double price = 0;

    void add_to(tools::options& all) {
        all.text("-m", "FILE", file, "the model, a GGUF file");
        all.text("--synthetic", "NAME", synthetic,
                 "instead, made once and kept: 2b4t, 8b or tiny, -q8_0 or -q6_k after it for the head, or bonsai-1.7b, "
                 "bonsai-4b or bonsai-8b");
        all.text("--write", "FILE", write, "only write the synthetic model there");
        all.text("-p", "LIST", prompts, "lengths of prompts, such as 128,512; 0 for none");
        all.text("-n", "LIST", generated, "tokens to generate; 0 for none");
        all.text("-t", "LIST", threads, "threads");
        all.text("--isa", "LIST", isas, "instruction sets; the best of this CPU where none is named");
        all.text("--layout", "LIST", layouts, "layouts of ternary weights: i2_s, base3, lookup2, lookup3");
        all.text("--head", "LIST", heads, "automatic, as-stored or screened: see open_options");
        all.text("--kv", "LIST", kvs, "elements of the KV cache: f16 or i8");
        all.text("--pages", "LIST", pages, "automatic, mapped or copied: where the file's bytes lie");
        all.text("--activations", "LIST", activations, "default, token, 128, 32 or float: see bitnet-logits");
        all.text("--batch", "LIST", batches, "sequences that are generated together");
        all.text("--sequences", "LIST", sequences, "sequences that a scheduler serves; 0 for none");
        all.number<std::size_t>("-c", "CTX", context, 0, std::size_t{1} << 20,
                                "positions after the last generated token", "a prompt of 16 tokens and -n");
        all.number<std::size_t>("-r", "REPS", repetitions, 1, 1000, "repetitions; medians are quoted");
        all.number<std::size_t>("--step", "US", step, 0, 1'000'000,
                                "each test of one sequence also in steps of so many microseconds", "none");
        all.contents("--schema", "FILE", schema,
                     "a JSON Schema: tokens per second with and without it, with the text that it forces, and masks");
        all.contents("--answers", "FILE", answers,
                     "for --schema: texts that the model is taken to write, one a line, instead of what it chooses");
        all.flag("--kernels", kernels,
                 "instead, each kernel alone: what it reads with one token, and its products with 128, by --isa, -t "
                 "and -r");
        all.text("--json", "FILE", json, "write the results there, too");
        all.number("--price", "USD_PER_HOUR", price, 0.0, 1e6,
                   "what the machine costs: a column of dollars per million tokens", "none");
    }
};

/// The words of "a,b,c"; one empty word for an empty text.
std::vector<std::string> words(const std::string& list) {
    std::vector<std::string> found;
    std::size_t end = std::string::npos;
    do {
        const std::size_t begin = end + 1;
        end = std::min(list.find(',', begin), list.size());
        found.push_back(list.substr(begin, end - begin));
    } while (end != list.size());
    return found;
}

/// The lines of a text that are not empty.
std::vector<std::string> lines(const std::string& text) {
    std::vector<std::string> found;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        if (!line.empty()) {
            found.push_back(line);
        }
    }
    return found;
}

/// The numbers of "1,2,3", 0 to 2^20; nothing where one is none.
std::optional<std::vector<std::size_t>> numbers(const std::string& list) {
    std::vector<std::size_t> found;
    for (const std::string& word : words(list)) {
        std::size_t number = 0;
        const auto read = std::from_chars(word.data(), word.data() + word.size(), number);
        if (read.ec != std::errc{} || read.ptr != word.data() + word.size() || number > (std::size_t{1} << 20)) {
            return std::nullopt;
        }
        found.push_back(number);
    }
    return found;
}

/// What is measured of one opened model with one number of threads.
struct conditions {
    const bench::bench_model& model;
    const bench::model_choice& choice;
    bitnet::thread_pool& pool;
    const bench::read_benchmark& reader;
    std::size_t repetitions;
    std::chrono::microseconds step; ///< zero: none
    std::uint64_t memory_of_benchmark;
    double first_token_seconds;
};

/// The speeds of the read loops, turn by turn.
class read_speeds {
public:
    void add(const std::vector<double>& turn) {
        turns_.resize(turn.size());
        for (std::size_t i = 0; i < turn.size(); ++i) {
            turns_[i].push_back(turn[i]);
        }
    }
    /// The best of the loops' medians, in GB/s.
    [[nodiscard]] double best() const {
        double best = 0;
        for (const auto& loop : turns_) {
            best = std::max(best, bench::spread_of(loop).median);
        }
        return best;
    }

private:
    std::vector<std::vector<double>> turns_; ///< of each loop
};

/// One test, its repetitions in turn with the read loops.
class trial {
public:
    explicit trial(const conditions& of) : of_(of) {}

    /// \param prepare is called with the number of each repetition before it, and takes no part in it
    /// \param run gives the seconds of one repetition, which makes `tokens`
    /// \param run_steps does the same in steps, and takes no part in it either; called with a budget only
    template <class Prepare, class Run, class RunSteps>
    [[nodiscard]] bitnet::result<void> run(bench::bench_session& session, std::size_t tokens, Prepare prepare, Run run,
                                           RunSteps run_steps) {
        for (std::size_t i = 0; i < of_.repetitions; ++i) {
            if (auto prepared = prepare(i); !prepared) {
                return std::move(prepared).error();
            }
            memory_ = bench::memory_of_process();
            memory_speeds_.add(of_.reader.turn(of_.pool));
            model_speeds_.add(of_.reader.turn(of_.pool, of_.model.read_parts()));
            static_cast<void>(session.shares());
            const auto energy = bench::read_energy();
            const auto seconds = run();
            if (!seconds) {
                return bitnet::error{seconds.error()};
            }
            if (const auto joules = bench::joules_between(energy, bench::read_energy())) {
                joules_per_token_.push_back(*joules / static_cast<double>(tokens));
            }
            rates_.push_back(static_cast<double>(tokens) / *seconds);
            loops_ += session.loops();
            shares_.push_back(session.shares());
            if (auto stepped = of_.step.count() != 0 ? run_steps() : bitnet::result<void>{}; !stepped) {
                return stepped;
            }
        }
        return {};
    }

    /// \param bytes read for each token. \param products of int8 for each token
    [[nodiscard]] bench::measurement finish(std::string test, double bytes, double products) const {
        bench::measurement made;
        made.test = std::move(test);
        made.threads = of_.pool.threads();
        made.isa = of_.model.isa();
        made.layout = of_.model.layout();
        made.head = of_.model.head_type();
        made.kv = of_.choice.kv;
        made.activations = name_of(of_.model.activations());
        made.tokens_per_second = bench::spread_of(rates_);
        made.bytes_per_token = bytes;
        made.pages = of_.model.pages();
        made.model_read_gb_per_second = model_speeds_.best();
        made.read_gb_per_second = std::max(memory_speeds_.best(), made.model_read_gb_per_second);
        made.int8_peak_gops = bench::int8_peak(of_.pool, made.isa);
        made.int8_peak_from_cache_gops = bench::int8_peak_from_cache(of_.pool, made.isa);
        const double multiplying = made.int8_peak_gops > 0 ? products / (made.int8_peak_gops * 1e9) : 0;
        const auto fraction = [&](double gb_per_second) {
            return std::max(bytes / (gb_per_second * 1e9), multiplying) * made.tokens_per_second.median;
        };
        made.roofline_fraction = fraction(made.read_gb_per_second);
        made.model_roofline_fraction = fraction(made.model_read_gb_per_second);
        if (!joules_per_token_.empty()) {
            made.joules_per_token = bench::spread_of(joules_per_token_).median;
        }
        made.phases = bench::mean(shares_);
        made.loop_seconds = bench::empty_loop(of_.pool);
        made.peak_rss_mb = megabytes(memory_.peak_resident);
        made.anonymous_mb = megabytes(memory_.anonymous);
        made.load_seconds = of_.model.load_seconds();
        made.screen_seconds = of_.model.screen_seconds();
        made.first_token_seconds = of_.first_token_seconds;
        return made;
    }

    [[nodiscard]] std::size_t loops() const noexcept { return loops_; }

private:
    [[nodiscard]] double megabytes(std::uint64_t bytes) const {
        return static_cast<double>(bytes - std::min(bytes, of_.memory_of_benchmark)) / 1e6;
    }

    const conditions& of_;
    bench::memory_use memory_;
    read_speeds memory_speeds_;
    read_speeds model_speeds_;
    std::vector<double> joules_per_token_;
    std::vector<double> rates_;
    std::vector<bench::phase_shares> shares_;
    std::size_t loops_ = 0; ///< of all repetitions
};

/// What steps took, over all repetitions.
class step_trial {
public:
    [[nodiscard]] bitnet::result<void> add(bitnet::result<bench::step_times> times, std::size_t tokens) {
        if (!times) {
            return std::move(times).error();
        }
        seconds_.insert(seconds_.end(), times->seconds.begin(), times->seconds.end());
        rates_.push_back(static_cast<double>(tokens) / times->in_all);
        return {};
    }
    [[nodiscard]] std::optional<bench::step_figures> finish(std::chrono::microseconds budget) {
        if (seconds_.empty()) {
            return std::nullopt;
        }
        std::sort(seconds_.begin(), seconds_.end());
        const auto slowest_of = [&](double share) { // microseconds that this share of the steps does not exceed
            const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(seconds_.size())));
            return 1e6 * seconds_[std::max<std::size_t>(rank, 1) - 1];
        };
        return bench::step_figures{static_cast<std::size_t>(budget.count()),
                                   seconds_.size(),
                                   slowest_of(0.5),
                                   slowest_of(0.99),
                                   slowest_of(0.999),
                                   slowest_of(1),
                                   bench::spread_of(rates_).median};
    }

private:
    std::vector<double> seconds_;
    std::vector<double> rates_;
};

std::vector<bitnet::token> some_tokens(std::size_t count, std::size_t vocabulary) {
    std::vector<bitnet::token> tokens(count);
    for (std::size_t i = 0; i < count; ++i) {
        tokens[i] = static_cast<bitnet::token>((i * 7919 + 13) % vocabulary);
    }
    return tokens;
}

bitnet::result<bench::measurement> measure_prompt(const conditions& of, std::size_t length) {
    auto session = of.model.open_session(of.pool.threads(), length, 1, bench::together::batch);
    if (!session) {
        return std::move(session).error();
    }
    const auto tokens = some_tokens(length, of.model.parameters().vocabulary);
    trial measured(of);
    step_trial steps;
    const auto run = [&] { return (*session)->prefill(tokens); };
    const auto warm_up = [&](std::size_t i) { return i == 0 ? run() : bitnet::result<double>(0.0); };
    const auto run_steps = [&] { return steps.add((*session)->prefill_in_steps(tokens, of.step), length); };
    if (auto ran = measured.run(**session, length, warm_up, run, run_steps); !ran) {
        return std::move(ran).error();
    }
    const bench::model_cost cost = of.model.cost();
    const std::size_t block = bitnet::session_options{}.prompt_chunk;
    double bytes = (*session)->head_bytes_per_step() + cost.norm_bytes;
    for (std::size_t begin = 0; begin < length; begin += block) {
        const auto positions = static_cast<double>(std::min(length, begin + block));
        bytes += cost.ternary_bytes + cost.kv_bytes_per_position * positions;
    }
    auto made =
        measured.finish("pp" + std::to_string(length), bytes / static_cast<double>(length), cost.products_per_token);
    made.step = steps.finish(of.step);
    return made;
}

bitnet::result<bench::measurement> measure_generation(const conditions& of, std::size_t count, std::size_t context,
                                                      std::size_t sequences, bench::together how) {
    constexpr std::size_t warm_up = 4;
    constexpr std::size_t short_prompt = 16;
    const std::size_t end = context != 0 ? context : short_prompt + warm_up + count;
    const std::size_t each = of.step.count() != 0 && sequences == 1 ? 2 * count : count; // in steps, too
    const std::size_t generated = warm_up + (context != 0 ? of.repetitions * each : count);
    if (end <= generated) {
        return bitnet::error{bitnet::errc::invalid_argument, "-c " + std::to_string(end) +
                                                                 " has no room for a prompt and " +
                                                                 std::to_string(generated) + " tokens"};
    }
    auto session = of.model.open_session(of.pool.threads(), end + 1, sequences, how);
    if (!session) {
        return std::move(session).error();
    }
    const auto prompt = some_tokens(end - generated, of.model.parameters().vocabulary);
    trial measured(of);
    double positions = 0; // after a step, summed over the middles of repetitions
    const auto prepare = [&](std::size_t i) -> bitnet::result<double> {
        if (i != 0 && context != 0) { // a long context is filled once, and then goes on
            return 0.0;
        }
        auto filled = (*session)->prefill(prompt);
        return filled ? (*session)->decode(warm_up) : std::move(filled);
    };
    step_trial steps;
    const auto run_steps = [&]() -> bitnet::result<void> {
        if (sequences != 1) {
            return {};
        }
        if (context == 0) { // where the repetition began
            auto filled = prepare(0);
            if (!filled) {
                return std::move(filled).error();
            }
        }
        return steps.add((*session)->decode_in_steps(count, of.step), count);
    };
    const auto run = [&] {
        positions += static_cast<double>((*session)->position()) + 0.5 * static_cast<double>(count);
        return (*session)->decode(count);
    };
    if (auto ran = measured.run(**session, count * sequences, prepare, run, run_steps); !ran) {
        return std::move(ran).error();
    }
    const bench::model_cost cost = of.model.cost();
    const double after = positions / static_cast<double>(of.repetitions);
    const double shared = cost.ternary_bytes + cost.norm_bytes + (*session)->head_bytes_per_step();
    const double bytes = shared / static_cast<double>(sequences) + cost.kv_bytes_per_position * after;
    const std::string at = context != 0 ? "@" + std::to_string(context) : "";
    const bool is_scheduled = how == bench::together::scheduler;
    auto made = measured.finish("tg" + std::to_string(count) + at + (is_scheduled ? ", scheduler" : ""), bytes,
                                cost.products_per_token);
    made.batch = sequences;
    made.step = steps.finish(of.step);
    made.loops_per_step = static_cast<double>(measured.loops()) / static_cast<double>(of.repetitions * count);
    made.is_scheduled = is_scheduled;
    return made;
}

/// Everything that one run was asked for.
class benchmark {
public:
    explicit benchmark(const settings& chosen) : chosen_(chosen) {}

    [[nodiscard]] bool understand() {
        const auto prompts = numbers(chosen_.prompts);
        const auto generated = numbers(chosen_.generated);
        const auto threads = numbers(chosen_.threads);
        const auto batches = numbers(chosen_.batches);
        const auto sequences = numbers(chosen_.sequences);
        const auto heads = words(chosen_.heads);
        const auto pages = words(chosen_.pages);
        const auto are = [](const std::vector<std::string>& all, std::string_view a, std::string_view b) {
            return std::ranges::all_of(all,
                                       [&](const auto& each) { return each == "automatic" || each == a || each == b; });
        };
        if (!prompts || !generated || !threads || !batches || !sequences ||
            std::ranges::count(*threads, std::size_t{0}) != 0 || !are(heads, "as-stored", "screened") ||
            !are(pages, "mapped", "copied") || !std::ranges::all_of(words(chosen_.activations), [](const auto& name) {
                return bitnet::find_activation_rounding(name).has_value();
            })) {
            return false;
        }
        prompts_ = *prompts;
        generated_ = *generated;
        threads_ = *threads;
        batches_ = *batches;
        sequences_ = *sequences;
        return true;
    }

    [[nodiscard]] bitnet::result<std::vector<bench::measurement>> run(const std::string& path) {
        const auto before = bench::memory_of_process().anonymous;
        auto reader = bench::read_benchmark::open();
        if (!reader) {
            return std::move(reader).error();
        }
        reader_ = &*reader;
        memory_of_benchmark_ = bench::memory_of_process().anonymous - before;
        for (const bench::model_choice& choice : choices(path)) {
            if (auto ran = run_model(choice); !ran) {
                return std::move(ran).error();
            }
        }
        return std::move(results_);
    }

    [[nodiscard]] const std::vector<bench::schema_figures>& schemas() const noexcept { return schemas_; }

    /// What --kernels asks for.
    [[nodiscard]] bitnet::result<std::vector<bench::kernel_figure>> run_kernels(const std::string& path) const {
        auto file = bitnet::detail::mapped_file::open(path);
        auto reader = bench::read_benchmark::open();
        if (!file || !reader) {
            return bitnet::error{file ? reader.error() : file.error()};
        }
        std::vector<bench::kernel_figure> all;
        for (const std::string& isa : words(chosen_.isas)) {
            for (const std::size_t threads : threads_) {
                const auto found = bench::measure_kernels({isa, threads, chosen_.repetitions}, *reader, file->bytes());
                if (!found) {
                    return bitnet::error{found.error()};
                }
                all.insert(all.end(), found->begin(), found->end());
            }
        }
        return all;
    }

private:
    /// Each instruction set with each layout, head, element of the KV cache, rounding of activations and kind of pages.
    [[nodiscard]] std::vector<bench::model_choice> choices(const std::string& path) const {
        std::vector<bench::model_choice> all(1);
        all[0].path = path;
        all[0].threads = *std::max_element(threads_.begin(), threads_.end());
        const auto each_of = [&all](const std::string& list, auto set) {
            std::vector<bench::model_choice> longer;
            for (const bench::model_choice& choice : all) {
                for (const std::string& word : words(list)) {
                    longer.push_back(choice);
                    set(longer.back(), word);
                }
            }
            all = std::move(longer);
        };
        each_of(chosen_.isas, [](auto& choice, const auto& word) { choice.isa = word; });
        each_of(chosen_.layouts, [](auto& choice, const auto& word) { choice.layout = word; });
        each_of(chosen_.heads, [](auto& choice, const auto& word) { choice.head = word; });
        each_of(chosen_.kvs, [](auto& choice, const auto& word) { choice.kv = word; });
        each_of(chosen_.pages, [](auto& choice, const auto& word) { choice.pages = word; });
        each_of(chosen_.activations, [](auto& choice, const auto& word) {
            choice.activations = *bitnet::find_activation_rounding(word); // understand() has looked at it
        });
        return all;
    }

    [[nodiscard]] bitnet::result<void> run_model(const bench::model_choice& choice) {
        const auto first_tokens = measure_first_tokens(choice);
        if (!first_tokens) {
            return bitnet::error{first_tokens.error()};
        }
        bench::reset_peak_memory();
        auto model = bench::open_model(choice);
        if (!model) {
            return std::move(model).error();
        }
        for (std::size_t i = 0; i < threads_.size(); ++i) {
            auto pool = bitnet::thread_pool::open(threads_[i]);
            if (!pool) {
                return std::move(pool).error();
            }
            const conditions of{**model,
                                choice,
                                **pool,
                                *reader_,
                                chosen_.repetitions,
                                std::chrono::microseconds(chosen_.step),
                                memory_of_benchmark_,
                                (*first_tokens)[i]};
            if (auto ran = run_tests(of); !ran) {
                return ran;
            }
            if (auto ran = chosen_.schema ? run_schema(of) : bitnet::result<void>{}; !ran) {
                return ran;
            }
        }
        return {};
    }

    [[nodiscard]] bitnet::result<void> run_schema(const conditions& of) {
        constexpr std::size_t most = 128; // tokens of a text
        if (!of.model.opened().has_text()) {
            return bitnet::error{bitnet::errc::invalid_argument, "--schema needs a model with a tokenizer"};
        }
        auto found = bench::measure_schema(of.model.opened(), *chosen_.schema, lines(chosen_.answers),
                                           of.pool.threads(), most, of.repetitions);
        if (!found) {
            return std::move(found).error();
        }
        found->isa = of.model.isa();
        found->head = of.model.head_type();
        std::fprintf(stderr, "schema, %zu threads: %.2f tok/s, with forced text %.2f, without the schema %.2f\n",
                     found->threads, bench::spread_of(found->held).median, bench::spread_of(found->forced).median,
                     bench::spread_of(found->free).median);
        std::fflush(stderr);
        schemas_.push_back(*std::move(found));
        return {};
    }

    /// The medians of each number of threads. Before the model is opened that the other tests share, so that two copies
    /// of it never take memory at a time.
    [[nodiscard]] bitnet::result<std::vector<double>> measure_first_tokens(const bench::model_choice& choice) const {
        std::vector<double> medians;
        const auto prompt = some_tokens(bench::first_prompt, 256); // every vocabulary has these
        for (const std::size_t threads : threads_) {
            std::vector<double> all;
            for (std::size_t i = 0; i < chosen_.repetitions; ++i) {
                const auto seconds = bench::seconds_to_first_token(choice, threads, prompt);
                if (!seconds) {
                    return bitnet::error{seconds.error()};
                }
                all.push_back(*seconds);
            }
            medians.push_back(bench::spread_of(std::move(all)).median);
        }
        return medians;
    }

    [[nodiscard]] bitnet::result<void> run_tests(const conditions& of) {
        for (const std::size_t length : prompts_) {
            if (auto added = length == 0 ? bitnet::result<void>{} : add(measure_prompt(of, length)); !added) {
                return added;
            }
        }
        if (auto ran = run_generations(of, batches_, bench::together::batch); !ran) {
            return ran;
        }
        return run_generations(of, sequences_, bench::together::scheduler);
    }

    [[nodiscard]] bitnet::result<void> run_generations(const conditions& of, const std::vector<std::size_t>& all,
                                                       bench::together how) {
        for (const std::size_t sequences : all) {
            for (const std::size_t count : generated_) {
                auto added = count == 0 || sequences == 0
                                 ? bitnet::result<void>{}
                                 : add(measure_generation(of, count, chosen_.context, sequences, how));
                if (!added) {
                    return added;
                }
            }
        }
        return {};
    }

    /// How much faster than one sequence alone, if that was measured under the same conditions just before.
    [[nodiscard]] std::optional<double> times_one(const bench::measurement& made) const {
        for (auto one = results_.rbegin(); one != results_.rend(); ++one) {
            if (one->batch == 1 && !one->is_scheduled && one->test + ", scheduler" == made.test &&
                one->threads == made.threads && one->isa == made.isa) {
                return made.tokens_per_second.median / one->tokens_per_second.median;
            }
        }
        return std::nullopt;
    }

    [[nodiscard]] bitnet::result<void> add(bitnet::result<bench::measurement> made) {
        if (!made) {
            return std::move(made).error();
        }
        std::fprintf(
            stderr,
            "%s, %zu threads, %s, %s, %s, %s, batch %zu: %.2f tok/s, %.0f %% of the limit, %.0f %% of its pages'\n",
            made->test.c_str(), made->threads, made->isa.c_str(), made->layout.c_str(), made->head.c_str(),
            made->pages.c_str(), made->batch, made->tokens_per_second.median, 100 * made->roofline_fraction,
            100 * made->model_roofline_fraction);
        std::fflush(stderr);
        made->times_one = made->is_scheduled ? times_one(*made) : std::nullopt;
        results_.push_back(*std::move(made));
        return {};
    }

    const settings& chosen_;
    std::vector<std::size_t> prompts_;
    std::vector<std::size_t> sequences_;
    std::vector<std::size_t> generated_;
    std::vector<std::size_t> threads_;
    std::vector<std::size_t> batches_;
    const bench::read_benchmark* reader_ = nullptr;
    std::uint64_t memory_of_benchmark_ = 0;
    std::vector<bench::measurement> results_;
    std::vector<bench::schema_figures> schemas_;
};

/// Writes the synthetic model of that name to `path`, unless it is there already and `keep`.
bitnet::result<void> make_synthetic(const std::string& name, const std::string& path, bool keep) {
    const auto shape = bitnet_tests::find_synthetic_shape(name);
    if (!shape) {
        return bitnet::error{
            bitnet::errc::invalid_argument,
            "--synthetic takes 2b4t, 8b or tiny, with -q8_0 or -q6_k or neither after it, bonsai-1.7b, "
            "bonsai-4b or bonsai-8b, not '" +
                name + "'"};
    }
    std::error_code ignored;
    if (keep && std::filesystem::exists(tools::utf8_path(path), ignored)) {
        return {};
    }
    const auto model = bitnet_tests::synthetic_model(*shape, 1);
    if (auto written = model.writer().write_file(path); !written) {
        return std::move(written).error();
    }
    return {};
}

/// Where the synthetic model is kept from run to run.
std::string path_of_synthetic(const std::string& name) {
    std::error_code failed;
    const auto folder = std::filesystem::temp_directory_path(failed);
    return (failed ? std::filesystem::path(".") : folder).string() + "/bitnet-synthetic-" + name + "-1.gguf";
}

std::string command_of(int argc, char** argv) {
    std::string command(program);
    const std::vector<std::string> all = tools::arguments(argc, argv);
    for (std::size_t i = 1; i < all.size(); ++i) {
        command.append(" ").append(all[i]);
    }
    return command;
}

int run(const settings& chosen, const std::string& command, const tools::options& all) {
    benchmark work(chosen);
    if (!work.understand()) {
        return all.refuse(
            "-p, -n, -t (from 1) and --batch take numbers with commas between, --head automatic, as-stored or "
            "screened, --pages automatic, mapped or copied, --activations default, token, 128, 32 or float");
    }
    std::string path = chosen.file;
    if (!chosen.synthetic.empty()) {
        path = chosen.write.empty() ? path_of_synthetic(chosen.synthetic) : chosen.write;
        if (const auto made = make_synthetic(chosen.synthetic, path, chosen.write.empty()); !made) {
            return tools::fail(program, made.error().message);
        }
    }
    if (!chosen.write.empty()) {
        return 0;
    }
    const auto warm_up = bench::warm_page_cache(path);
    if (!warm_up) {
        return tools::fail(program, warm_up.error().message);
    }
    std::fprintf(stderr, "%.0f MB of the model were read into the page cache in %.2f s\n",
                 static_cast<double>(warm_up->bytes) / 1e6, warm_up->seconds);
    if (chosen.kernels) {
        const auto found = work.run_kernels(path);
        if (!found) {
            return tools::fail(program, found.error().message);
        }
        return tools::put(bench::kernels_to_markdown(*found)) ? 0 : 1;
    }
    auto results = work.run(path);
    if (!results) {
        return tools::fail(program, results.error().message);
    }
    const bench::report found{bench::machine_name(), bench::commit, command, chosen.price, *warm_up,
                              *std::move(results),   work.schemas()};
    if (!chosen.json.empty() && !(std::ofstream(tools::utf8_path(chosen.json)) << bench::to_json(found) << '\n')) {
        return tools::fail(program, chosen.json + " cannot be written");
    }
    return tools::put(bench::to_markdown(found)) ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    tools::options all(std::string(program), "Measures tokens per second, and this machine's limits in the same run.");
    settings chosen;
    chosen.add_to(all);
    if (const auto status = all.read(argc, argv)) {
        return *status;
    }
    if (chosen.file.empty() == chosen.synthetic.empty()) {
        return all.refuse("one of -m FILE and --synthetic NAME is needed");
    }
    if (!chosen.write.empty() && chosen.synthetic.empty()) {
        return all.refuse("--write needs --synthetic");
    }
    return run(chosen, command_of(argc, argv), all);
}
