"""The help of every command and option in Japanese, by `command` and `command.parameter`.

What stands under `*` holds for every command that has the parameter. The English help stands where the options are
declared; words such as "Usage" and what is said of wrong usage are the library's and stay English.
"""

from collections.abc import Mapping
from typing import Any, Final

HELP: Final[Mapping[str, str]] = {
    "": "音声・動画・顔画像から、口の動きを合わせ顔を差し替えた動画を 1 本つくります。",
    "*.data": "ローカルのスタックがすべてを保存するフォルダ。",
    "*.api": "API のアドレス。省略時はローカルのスタック、なければ http://127.0.0.1:8000。",
    "*.secret": "API のシークレット（設定されている場合）。",
    "*.as_json": "結果を JSON で標準出力に書きます。",
    "*.timeout": "終了を待つ秒数。",
    "*.worker_type": "フローを 1 つのプロセスで動かすか、それぞれ別のプロセスで動かすか。",
    "*.wait": "タスクの終了まで待ちます。",
    "*.audio": "口を動かす音声。省略すると顔の差し替えのみ。",
    "*.source": "元になる顔画像。複数指定できます。",
    "*.weights": "モデルのファイルを置くフォルダ。省略時は LIPSWAP_WEIGHTS、なければ .lipswap/weights。",
    "*.names": "モデルの名前。",
    "demo": "スタックを起動し、付属サンプルを HTTP で実行し、結果を保存して停止します。",
    "demo.output": "result.mp4・record.json・compare.png を置くフォルダ。",
    "demo.fresh": "以前の結果を消してから、すべて計算し直します。",
    "demo.keep": "Ctrl-C までスタックを動かしたままにします。",
    "up": "ローカルのスタック全体を起動し、Ctrl-C まで動かします。",
    "up.part": "このサービスと、それが必要とするものだけを起動します。複数指定できます。",
    "up.any_ports": "決まったポート番号を使いません（8000 と 4200 を空けておきます）。",
    "run": "ファイルをアップロードしてタスクを始め、終わりまで見届けます。",
    "run.target": "対象の動画。ファイル、またはアップロード済みのキー。",
    "run.option": "リクエストの項目。例: wav2lip.blending=50",
    "run.out": "結果の保存先。",
    "status": "タスクの状態を表示します。",
    "cancel": "タスクを取り消し、終わるまで待ちます。取り消せたとき終了コードは 0 です。",
    "preview": (
        "ドラフトの仕上がりを 1 フレームか数秒、すぐに表示用のファイルにします。"
        "スタックも GPU も不要で、AI 生成のプレビューとして署名されます。"
    ),
    "preview.target": "対象の動画。",
    "preview.out": "動画（.mp4）、または 1 フレーム（.png、.jpg）。",
    "preview.at": "結果の何秒目か。省略時は口が最も大きく開くところ。",
    "preview.seconds": "動画の長さ（秒）。",
    "preview.sync_mode": "音声と動画の長さが違うときの合わせ方。",
    "verify": "ファイルに自分たちの署名があり、変更されていないかを調べます。そのときだけ終了コードは 0 です。",
    "inspect": "結果の良さを測ります。口と音声の一致、本人らしさ、ちらつき、顔の外の変化。",
    "inspect.result": "調べる動画。",
    "inspect.target": "もとの対象動画。",
    "inspect.sync_mode": "音声と動画の長さをどう合わせたか。",
    "inspect.html": "グラフと画像のページをここに書きます。",
    "audit": "監査記録の鎖を始めから終わりまで調べます。欠けや書き換えがなければ終了コードは 0 です。",
    "audit.known": "以前に控えた終端（--json の tip）。それより後の切り詰めや書き換えがわかります。",
    "ledger": "GPU でのすべての実行を、理由・ワーカー・秒数・費用とともに一覧します。",
    "ledger.task": "このタスクの GPU ジョブだけ。",
    "ledger.fingerprint": "フィンガープリントがこれで始まるジョブだけ。",
    "ledger.since": "これ以降に申請されたものだけ。90m、24h、7d、または日時。",
    "samples": "難しい対象動画のサンプルを、付属のサンプルからつくります。",
    "samples.folder": "置き場所のフォルダ。",
    "keys": "API キー。だれが、何に、どれだけ API を使えるか。",
    "keys create": "キーを作成し、一度だけ表示します。",
    "keys create.name": "だれのキーか（説明）。",
    "keys create.scope": "用途。複数指定できます。",
    "keys create.requests": "毎分のリクエスト数。省略時はサービスの既定。",
    "keys create.tasks": "同時に実行できるタスク数。省略時はサービスの既定。",
    "keys list": "すべてのキーを、用途と最終使用とともに表示します。キーの文字列は表示しません。",
    "keys revoke": "キーを失効させます。動いているサービスには 1 分以内に反映されます。",
    "keys revoke.key_id": "キーの ID（`lipswap keys list` で確認できます）。",
    "models": "モデルの入手元、手元にあるもの、利用条件。",
    "models list": "すべてのモデルを、役割・手元の状態・ライセンスとともに表示します。",
    "models pull": "モデルと、それが必要とするモデルを取得して検証します。途中からの再開もできます。",
    "models pull.every": "ライセンスが自由か、承認済みのモデルすべて。",
    "models pull.defaults": "役割ごとの既定のモデル。",
    "models verify": "モデルを最初から最後まで読み、ダイジェストを比べます。名前を省くと手元のものすべて。",
    "models licences": "すべてのライセンスを、内容・モデル・承認の要否と状態とともに表示します。",
    "models acknowledge": (
        "フォルダのモデルについてライセンスを承認します。先に本文をお読みください。結果の使い道を左右します。"
    ),
    "reprocess": (
        "古いモデルの出力・失敗したタスク・ラベルの付いた出力を作り直します。承認するまで元の出力は残ります。"
    ),
    "reprocess.only": "対象。stale（古いもの）・failed（失敗）・label=名前:値。",
    "reprocess.dry_run": "対象と見積もりを表示するだけで、何も実行しません。",
    "reprocess.batch": "このバッチを続けるか、新しいバッチにこの名前を付けます。",
    "reprocess.show": "バッチの状態を表示します。",
    "reprocess.accept": "このバッチで承認待ちの出力を、元の出力と入れ替えます。",
    "reprocess.reject": "このバッチの新しい出力を捨て、元の出力を残します。",
    "reprocess.task": "--accept・--reject の対象をこのタスクに限ります。複数指定できます。",
    "reprocess.wait": "バッチの終了まで待ちます。",
    "*.file": "宣言のファイル。省略時は lipswap 付属のもの。",
    "*.image_check": "イメージがあるかをレジストリに問い合わせます。",
    "deploy": "RunPod のアカウントと Prefect サーバーを、1 つのファイルの宣言どおりにします。",
    "deploy plan": "`apply` が何をするか、できるかを表示します。何も変更しません。",
    "deploy diff": "アカウントが宣言とどう違うかを表示します。違いがないときだけ終了コードは 0 です。",
    "deploy apply": "アカウントを宣言どおりにします。途中で止まっても、もう一度実行すれば残りを行います。",
    "deploy apply.prune": "宣言にないものを削除します（ボリュームは残します）。",
    "deploy apply.env_file": "エンドポイントの ID を環境変数としてこのファイルにも書きます。",
    "deploy destroy": "宣言の接頭辞を持つものをすべて削除します。ボリュームは指定したときだけです。",
    "deploy destroy.yes": "実行します。付けなければ対象を表示するだけです。",
    "deploy destroy.volumes": "ボリュームも、その中身ごと削除します。",
    "deploy prefect": "Prefect サーバーのブロック、ワークプール、スケジュール、デプロイメントを設定どおりにします。",
    "bucket": "バケットの設定と、役割ごとのキー。",
    "bucket check": "オブジェクトを読み書きし、宣言と違うところを表示します。違いがないとき終了コードは 0 です。",
    "bucket prepare": "バケットを確かめ、CORS とライフサイクルを設定します。Admin Read & Write のキーが必要です。",
    "bucket prepare.keys": "CLOUDFLARE_API_TOKEN で役割ごとのキーを作り、このフォルダに書きます。",
    "doctor.production": "代わりに、環境変数が指すすべてのサービスを調べます。",
    "plan": "宣言したエンドポイントで 1 日をシミュレートし、待ち時間・ワーカー数・GPU 秒・費用を表示します。",
    "plan.jobs_per_day": "1 日のリクエスト数。",
    "plan.seconds": "動画の長さ（秒）。",
    "plan.lip_sync": "動画 1 秒あたりの GPU 秒。0 ならリクエストに含まれません。",
    "plan.face_swap": "顔の差し替えについて同じもの。",
    "plan.cold_seconds": "新しいワーカーが働き始めるまでの秒数。",
    "plan.around_seconds": "ワーカーと CPU プロセス以外でかかる秒数。",
    "plan.cpu": "動画 1 秒あたりの CPU プロセスの秒数（取り込みから署名まで）。",
    "plan.cpu_processes": "すべてのオーケストレーターの CPU プロセスの合計。",
    "plan.peak": "最も混む 1 時間が平均の何倍か。",
    "conformance": "契約テストを実際のアカウントで実行します。GPU 秒がかかります。違いがなければ 0。",
    "conformance.endpoint": "テスト用ワーカーを動かすエンドポイント（NAME=ID）。",
    "doctor": "このマシンに足りないものと対処を表示します。足りないものがなければ終了コードは 0 です。",
}


def in_japanese(command: Any, path: str) -> None:  # noqa: ANN401  # typer's own click has no public types
    """Put Japanese help into a command, its options and its commands; what has none stays English.

    Args:
        command: A command, or a group of commands that are loaded already.
        path: Its name, with its groups' before it.
    """
    command.help = HELP.get(path, command.help)
    # The decorated help cuts a sentence without spaces off at the edge; the plain one breaks it.
    command.rich_markup_mode = None
    for parameter in command.params:
        if getattr(parameter, "help", None) is not None:
            parameter.help = japanese_of(path, parameter.name) or parameter.help
    for name, inner in getattr(command, "commands", {}).items():
        in_japanese(inner, f"{path} {name}".strip())


def japanese_of(path: str, parameter: str) -> str | None:
    """Return a parameter's help: its command's own, else the one for all commands."""
    return HELP.get(f"{path}.{parameter}", HELP.get(f"*.{parameter}"))
