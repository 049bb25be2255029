// SPDX-License-Identifier: MIT
// bitnet-convert: writes a model, GGUF file or checkpoint directory, as a GGUF file in the layout asked for.
#include "model_options.hpp"
#include "streams.hpp"
#include "utf8_path.hpp"

#include <bitnet/checkpoint/hyper_parameter_reader.hpp>
#include <bitnet/checkpoint/open_model_file.hpp>
#include <bitnet/convert/checkpoint_comparison.hpp>
#include <bitnet/convert/checkpoint_converter.hpp>
#include <bitnet/convert/metadata_edit.hpp>
#include <bitnet/convert/permuted_rows.hpp>
#include <bitnet/convert/ternary_encoding.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace {

constexpr std::string_view program = "bitnet-convert";
volatile std::sig_atomic_t interrupted = 0;

struct settings {
    tools::model_options model;
    std::string out;
    std::string layout = "i2_s";
    std::string head;
    std::vector<std::string> edits;
    bool verify = false;
    bool force = false;

    void add_to(tools::options& all) {
        all.argument(
            "IN", model.file,
            "the model: a GGUF file, the first shard of a split one, or the directory of a Hugging Face checkpoint");
        all.argument("OUT", out, "the GGUF file to be written");
        all.choice("--layout", bitnet::ternary_encoding_names, layout,
                   "how ternary tensors are stored; scales of blocks are kept: see README");
        constexpr std::array<std::string_view, 4> heads{"f16", "q8_0", "q6_k", "screened"};
        all.choice("--head", heads, head, "type of the embedding and head; screened adds a screen for --head screened",
                   "as stored");
        all.list("--set", "KEY=TYPE:VALUE", edits, "sets a metadata entry, as in tokenizer.ggml.pre=str:llama-bpe");
        all.flag("--verify", verify, "reads both again and compares every ternary value, scale and vocabulary entry");
        all.flag("--force", force, "write over a file that exists");
        model.add_threads(all);
        model.add_reading(all);
    }
};

/// Rate and time left, a few times a second; and whether somebody pressed Ctrl-C.
class progress_line {
public:
    static bool report(void* context, std::uint64_t done, std::uint64_t total) noexcept {
        static_cast<progress_line*>(context)->show(done, total);
        return interrupted == 0;
    }

    [[nodiscard]] double seconds() const noexcept {
        return std::chrono::duration<double>(clock::now() - start_).count();
    }
    /// Ends the line, if one was begun.
    void end() noexcept {
        if (std::exchange(begun_, false)) {
            std::fputc('\n', stderr);
        }
    }

private:
    using clock = std::chrono::steady_clock;

    void show(std::uint64_t done, std::uint64_t total) noexcept {
        const auto now = clock::now();
        if (!is_watched_ || (begun_ && done != total && now - last_ < std::chrono::milliseconds(200))) {
            return;
        }
        last_ = now;
        begun_ = true;
        const double rate = static_cast<double>(done) / std::max(1e-3, seconds());
        std::fprintf(stderr, "\r%3.0f %%, %.0f MB/s, %.0f s left ",
                     100 * static_cast<double>(done) / static_cast<double>(total), rate / 1e6,
                     static_cast<double>(total - done) / std::max(1.0, rate));
        std::fflush(stderr);
    }

    bool is_watched_ = tools::stderr_is_terminal();
    bool begun_ = false;
    clock::time_point start_ = clock::now();
    clock::time_point last_ = start_;
};

bitnet::result<std::vector<bitnet::metadata_edit>> parse_edits(const std::vector<std::string>& texts) {
    std::vector<bitnet::metadata_edit> edits;
    for (const std::string& text : texts) {
        auto edit = bitnet::metadata_edit::parse(text);
        if (!edit) {
            return std::move(edit).error();
        }
        edits.push_back(*edit);
    }
    return edits;
}

/// Neither an existing file without --force nor a file of the source itself may be written over.
bitnet::result<void> check_target(const settings& chosen, const bitnet::model_file& source) {
    std::error_code ignored;
    for (const bitnet::byte_source& file : source.sources()) {
        if (std::filesystem::equivalent(tools::utf8_path(file.name()), tools::utf8_path(chosen.out), ignored)) {
            return bitnet::error{bitnet::errc::invalid_argument,
                                 chosen.out + ": is a file of the model that is to be read"};
        }
    }
    if (!chosen.force && std::filesystem::exists(tools::utf8_path(chosen.out), ignored)) {
        return bitnet::error{bitnet::errc::invalid_argument, chosen.out + ": exists; --force writes over it"};
    }
    return {};
}

class conversion {
public:
    conversion(const settings& chosen, std::span<const bitnet::metadata_edit> edits) : chosen_(chosen), edits_(edits) {}

    [[nodiscard]] bitnet::result<void> run() {
        auto pool = bitnet::thread_pool::open(chosen_.model.threads);
        if (!pool) {
            return std::move(pool).error();
        }
        const auto source = bitnet::model_file::open(chosen_.model.file);
        if (!source) {
            return bitnet::error{source.error()};
        }
        if (auto checked = check_target(chosen_, *source); !checked) {
            return checked;
        }
        for (const std::string& note : source->notes()) {
            std::fprintf(stderr, "note: %s\n", note.c_str());
        }
        if (const auto parameters = bitnet::hyper_parameters::read(source->gguf())) { // its error is write()'s, too
            for (const std::string& note : parameters->notes) {
                std::fprintf(stderr, "note: %s\n", note.c_str());
            }
        }
        if (auto written = write(*source, **pool); !written) {
            return written;
        }
        return chosen_.verify ? verify(*source, **pool) : bitnet::result<void>{};
    }

private:
    [[nodiscard]] bitnet::result<void> write(const bitnet::model_file& source, bitnet::thread_pool& pool) {
        progress_line line;
        bitnet::conversion_options options;
        options.layout = chosen_.layout;
        options.head = chosen_.head;
        options.reading = chosen_.model.reading();
        options.edits = edits_;
        options.progress = {&progress_line::report, &line};
        auto converter = bitnet::checkpoint_converter::open(source.gguf(), options, pool);
        if (!converter) {
            return std::move(converter).error();
        }
        std::signal(SIGINT, [](int) { interrupted = 1; });
        auto written = (*converter)->write_file(chosen_.out);
        std::signal(SIGINT, SIG_DFL);
        line.end();
        if (!written) {
            return std::move(written).error();
        }
        const auto& did = (*converter)->statistics();
        std::printf("%s: %llu bytes in %.2f s, %.0f MB/s of %llu bytes read\n", chosen_.out.c_str(),
                    static_cast<unsigned long long>(*written), line.seconds(),
                    static_cast<double>(source.size()) / 1e6 / std::max(1e-3, line.seconds()),
                    static_cast<unsigned long long>(source.size()));
        std::printf("%zu ternary tensors as %s, %zu other tensors in another type, %zu as they were\n",
                    did.ternary_tensors, chosen_.layout.c_str(), did.other_tensors, did.copied_tensors);
        if (did.scale_tensors != 0) {
            std::printf("%zu scales stand in tensors of their own, because %s cannot hold them\n", did.scale_tensors,
                        chosen_.layout.c_str());
        }
        if (did.repaired_tokens != 0) {
            std::printf("%zu control tokens were spelled with BOS before or EOS after them, and are no more\n",
                        did.repaired_tokens);
        }
        return {};
    }

    [[nodiscard]] bitnet::result<void> verify(const bitnet::model_file& source, bitnet::thread_pool& pool) {
        const auto target = bitnet::model_file::open(chosen_.out);
        if (!target) {
            return bitnet::error{target.error()};
        }
        std::vector<std::string_view> edited;
        for (const bitnet::metadata_edit& edit : edits_) {
            edited.push_back(edit.key());
        }
        const auto report =
            bitnet::compare_checkpoints(source.gguf(), chosen_.model.reading(), target->gguf(), pool, edited);
        if (!report) {
            return bitnet::error{report.error()};
        }
        std::printf("verified: %llu ternary values and the scales of %zu tensors, %llu vocabulary entries\n",
                    static_cast<unsigned long long>(report->ternary_values), report->ternary_tensors,
                    static_cast<unsigned long long>(report->vocabulary_entries));
        std::printf("%zu other tensors; in another type %llu values changed, by %g at the most\n",
                    report->float_tensors, static_cast<unsigned long long>(report->changed_floats),
                    static_cast<double>(report->largest_change));
        return {};
    }

    const settings& chosen_;
    std::span<const bitnet::metadata_edit> edits_;
};

} // namespace

int main(int argc, char** argv) {
    tools::use_binary_streams();
    tools::options all(std::string(program),
                       "Writes a model as a GGUF file with its ternary tensors in another layout.");
    settings chosen;
    chosen.add_to(all);
    if (const auto status = all.read(argc, argv)) {
        return *status;
    }
    const auto edits = parse_edits(chosen.edits);
    if (!edits) {
        return all.refuse(edits.error().message);
    }
    const auto done = conversion(chosen, *edits).run();
    return done ? 0 : tools::fail(program, done.error().message);
}
