@echo off
rem Trains a model on this machine; arguments are passed on, such as --epochs 100.
setlocal
cd /d "%~dp0"
set "PYTHON=python"
if exist ".venv\Scripts\python.exe" set "PYTHON=.venv\Scripts\python.exe"
"%PYTHON%" train_model.py %*
set "CODE=%ERRORLEVEL%"
rem A window opened by double click would close before the result is read.
if "%~1"=="" pause
exit /b %CODE%
