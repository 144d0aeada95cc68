"""What each fault says to a person, in every language that we speak."""

from collections.abc import Mapping
from enum import StrEnum

from gpu_tasks.contract.faults import MEANINGS, Fault, FaultCode


class Language(StrEnum):
    """Languages in which people are spoken to. Records and replies are in English."""

    ENGLISH = "en"
    JAPANESE = "ja"


_JAPANESE: Mapping[FaultCode, str] = {
    FaultCode.RUNPOD_SUBMIT_FAILED: "RunPod がジョブを受け付けませんでした。",
    FaultCode.RUNPOD_STATUS_FAILED: "RunPod からジョブの状態を取得できませんでした。",
    FaultCode.RUNPOD_JOB_FAILED: "GPU ワーカーがジョブを完了できませんでした。",
    FaultCode.RUNPOD_JOB_TIMEOUT: (
        "ジョブが制限時間を超えました。動画を短くするか、RUNPOD_JOB_TIMEOUT を長くしてください。"
    ),
    FaultCode.NO_FACE_DETECTED: "対象の動画に顔が見つかりません。顔が写っている動画を使ってください。",
    FaultCode.AUDIO_MERGE_FAILED: "このままでは結果が無音になるため、中止しました。",
    FaultCode.MISSING_AUDIO_KEY: (
        "リップシンクには audio_key、顔の差し替えには source_keys が必要です。少なくとも一方を指定してください。"
    ),
    FaultCode.FACEFUSION_NOT_CONFIGURED: (
        "顔の差し替えが設定されていません。RUNPOD_FACEFUSION_ENDPOINT を設定してください。"
    ),
    FaultCode.REQUEST_INVALID: "リクエストの形式が正しくありません。",
    FaultCode.CONSENT_REQUIRED: "同意の宣言が必要です。consent に basis・statement・declared_by を指定してください。",
    FaultCode.KEY_NOT_ALLOWED: "このオブジェクトキーは使えません。",
    FaultCode.OPTION_UNSUPPORTED: "このオプションにはまだ対応していません。",
    FaultCode.OBJECT_MISSING: "このキーのオブジェクトがありません。先にアップロードしてください。",
    FaultCode.OBJECT_EMPTY: "アップロードされたファイルが空です。もう一度アップロードしてください。",
    FaultCode.OBJECT_TOO_LARGE: "ファイルが上限より大きいです。短くするか、圧縮してください。",
    FaultCode.OBJECT_CORRUPT: "保存されたオブジェクトがダイジェストと一致しません。",
    FaultCode.OBJECT_CHANGED: "開始中にオブジェクトが上書きされました。もう一度リクエストしてください。",
    FaultCode.OUTPUT_EXISTS: "この出力キーは別のタスクが使っています。別のキーを指定してください。",
    FaultCode.MEDIA_UNREADABLE: (
        "ファイルをメディアとして読み取れません。最後まで再生できるか確かめ、書き出し直してください。"
    ),
    FaultCode.MEDIA_UNSUPPORTED: (
        "この種類のメディアには対応していません。一般的な設定の MP4・WAV・JPEG で保存し直してください。"
    ),
    FaultCode.MEDIA_TOO_LONG: "長さが上限を超えています。短くしてください。",
    FaultCode.MEDIA_TOO_COSTLY: (
        "ファイルの読み取りに時間かメモリがかかりすぎます。一般的な設定で保存し直してください。"
    ),
    FaultCode.PICTURE_TOO_LARGE: "画像の画素数が上限を超えています。縮小してください。",
    FaultCode.NO_VIDEO_STREAM: "対象のファイルに映像がありません。動画のファイルを選んでください。",
    FaultCode.NO_AUDIO_STREAM: "音声ファイルに音がありません。声の入ったファイルを選んでください。",
    FaultCode.NO_FACE_IN_SOURCE: "元画像に顔が見つかりません。正面を向いた鮮明な画像を使ってください。",
    FaultCode.NO_FACE_IN_REFERENCE: (
        "参照画像に顔が見つかりません。対象の人物が正面を向いた鮮明な画像を使ってください。"
    ),
    FaultCode.SEVERAL_FACES_IN_REFERENCE: (
        "参照画像に複数の顔が写っています。対象の人物だけが写るように切り抜いてください。"
    ),
    FaultCode.CONTENT_REFUSED: "対象の動画に、ここでは加工できない内容が含まれています。別の動画を使ってください。",
    FaultCode.RUNPOD_NOT_CONFIGURED: (
        "RunPod が設定されていません。RUNPOD_API_KEY と RUNPOD_WAV2LIP_ENDPOINT を設定してください。"
    ),
    FaultCode.RUNPOD_KEY_REFUSED: (
        "RunPod が API キーを拒否しました。エンドポイントを使えるキーを RUNPOD_API_KEY に設定してください。"
    ),
    FaultCode.RUNPOD_ENDPOINT_UNKNOWN: (
        "RunPod にこのエンドポイントがありません。RUNPOD_WAV2LIP_ENDPOINT または RUNPOD_FACEFUSION_ENDPOINT の"
        " ID を確認してください。"
    ),
    FaultCode.RUNPOD_THROTTLED: (
        "RunPod がリクエストを長時間受け付けませんでした。RUNPOD_WAV2LIP_MAX_JOBS や RUNPOD_FACEFUSION_MAX_JOBS で"
        "負荷を下げるか、RunPod に上限の引き上げを依頼してください。"
    ),
    FaultCode.RUNPOD_NO_WORKERS: (
        "エンドポイントにワーカーが一つもありません。RunPod コンソールで最大ワーカー数を増やしてください。"
    ),
    FaultCode.RUNPOD_NO_CAPACITY: (
        "時間内に GPU ワーカーが空きませんでした。RunPod コンソールでワーカー数や GPU の種類を増やすか、"
        "RUNPOD_QUEUE_TIMEOUT を長くしてください。"
    ),
    FaultCode.RUNPOD_WORKERS_CRASH: (
        "ワーカーがジョブを受け取る前に終了しています。RunPod コンソールでログを確認してください。"
    ),
    FaultCode.RUNPOD_JOB_EXPIRED: (
        "ジョブの有効期間が過ぎたため、RunPod が破棄しました。RunPod コンソールでワーカー数を増やすか、"
        "RUNPOD_QUEUE_TIMEOUT と RUNPOD_JOB_TIMEOUT を長くしてください。"
    ),
    FaultCode.BUDGET_EXCEEDED: (
        "GPU の予算を超えるため、実行できません。翌日まで待つか、予算を増やしてください。"
        "詳しくは docs/operate.md をご覧ください。"
    ),
    FaultCode.PRICE_UNKNOWN: (
        "エンドポイントの GPU の料金がわかりません。RUNPOD_WAV2LIP_GPU と RUNPOD_FACEFUSION_GPU に料金表にある種類を"
        "設定してください。詳しくは docs/operate.md をご覧ください。"
    ),
    FaultCode.ENGINE_UNAVAILABLE: "指定されたエンジンはここでは使えません。",
    FaultCode.MODEL_MISSING: "モデルのファイルがありません。`lipswap models pull` で取得してください。",
    FaultCode.MODEL_CORRUPT: "モデルのファイルが想定されたものと違います。",
    FaultCode.MODEL_NOT_FETCHED: "モデルのファイルを取得できませんでした。",
    FaultCode.LICENCE_NOT_ACKNOWLEDGED: (
        "先にモデルのライセンスを承認してください。`lipswap models licences` で確認できます。"
    ),
    FaultCode.REVISION_MISMATCH: "フローとワーカーのモデルのリビジョンが違います。",
    FaultCode.CONTRACT_MISMATCH: "フローとワーカーの契約バージョンが違います。",
    FaultCode.RESULT_MISSING: "ワーカーは完了を報告しましたが、結果がありません。",
    FaultCode.SUPERSEDED: "同じジョブの新しい試行に引き継がれました。",
    FaultCode.OUT_OF_MEMORY: "ワーカーのメモリが足りません。",
    FaultCode.DISK_FULL: "ディスクの空きが足りません。",
    FaultCode.STORAGE_UNAVAILABLE: "メディアの保存先が応答しません。",
    FaultCode.STORAGE_REFUSED: (
        "メディアの保存先に拒否されました。R2_BUCKET、R2_ACCESS_KEY_ID、R2_SECRET_ACCESS_KEY と"
        "その権限を確認してください。"
    ),
    FaultCode.ORCHESTRATOR_UNAVAILABLE: "オーケストレーターが応答しません。もう一度お試しください。",
    FaultCode.ORCHESTRATOR_LOST: "このタスクを処理したプロセスが毎回停止したため、再試行しません。",
    FaultCode.DEADLINE_EXCEEDED: "リクエストの期限が過ぎました。",
    FaultCode.CANCELLED: "タスクは取り消されました。",
    FaultCode.FORBIDDEN: "この API キーではその操作はできません。",
    FaultCode.RATE_LIMITED: "この API キーのリクエストが多すぎます。間隔を空けてください。",
    FaultCode.QUOTA_EXCEEDED: (
        "この API キーで同時に実行できるタスク数に達しています。どれかが終わるまで待ってください。"
    ),
    FaultCode.TOO_MANY_LISTENERS: (
        "イベントの接続数が上限に達しています。/status を使うか、しばらくしてから接続し直してください。"
    ),
    FaultCode.IDEMPOTENCY_IN_FLIGHT: (
        "同じ Idempotency-Key のリクエストを処理中です。そのタスクの状態を確認してください。"
    ),
    FaultCode.TASK_NOT_ENDED: "タスクはまだ終わっていません。先にキャンセルしてください。",
    FaultCode.UPLOAD_UNKNOWN: "このアップロードは存在しないか、期限が切れています。",
    FaultCode.UPLOAD_INCOMPLETE: "アップロードのパートが足りないか、一致しません。",
    FaultCode.REQUEST_TOO_SLOW: "リクエスト本文の送信が遅すぎます。もう一度送ってください。",
    FaultCode.UNAUTHORIZED: "API キーがないか、正しくありません。",
    FaultCode.TASK_UNKNOWN: "この ID のタスクはありません。",
    FaultCode.ROUTE_UNKNOWN: "このアドレスには何もありません。/docs をご覧ください。",
    FaultCode.WEBHOOK_REFUSED: "このアドレスは Webhook として呼び出せません。",
    FaultCode.WEBHOOK_FAILED: "Webhook が受け取られませんでした。",
    FaultCode.DELIVERY_UNKNOWN: "この ID の配信はありません。",
    FaultCode.PAYLOAD_TOO_LARGE: "リクエストの本文が上限より大きいです。",
    FaultCode.INTERNAL: "こちら側で問題が起きました。詳細はログにあります。",
}

SENTENCES: Mapping[Language, Mapping[FaultCode, str]] = {
    Language.ENGLISH: {code: meaning.sentence for code, meaning in MEANINGS.items()},
    Language.JAPANESE: _JAPANESE,
}


def told(code: FaultCode, detail: str, language: Language) -> str:
    """Return a fault's detail for a reader of `language`: the sentence translated, the particulars as they are.

    Args:
        code: What happened.
        detail: What an English reader is told: the code's sentence, then particulars such as a key or a size. A detail
            that another version of us wrote may begin otherwise; then all of it counts as particulars.
        language: The reader's.
    """
    if language is Language.ENGLISH:
        return detail
    particulars = detail.removeprefix(SENTENCES[Language.ENGLISH][code]).strip()
    return f"{SENTENCES[language][code]} {particulars}".rstrip()


def told_fault(fault: Fault, language: Language) -> str:
    """Return what a person is told of a fault."""
    return told(fault.code, fault.detail, language)
