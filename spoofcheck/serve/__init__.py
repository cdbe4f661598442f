"""The service: our API, the contracts of two older systems and a page, on the models of this machine.

    HTTP -> access (who) -> uploads (files, by names of our own) -> v1 | contracts | page -> engine -> model processes

`build_app(settings)` of `serve.app` makes the whole of it; `spoofcheck serve` runs it. Needs the extra `serve`.
"""
